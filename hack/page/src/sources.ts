// What can be published: a test card, a camera, a screen. Each gives a picture
// and, where there is one, a sound.

import { draw, fps, height, width } from "./testcard.draw";
import type { Begin } from "./testcard.worker";

export const kinds = ["card", "camera", "screen"] as const;
export type Kind = (typeof kinds)[number];

export interface Source {
  video: MediaStreamTrack;
  audio?: MediaStreamTrack;
  /** Whether the publisher's own sound should be left out of the preview; it always is, feedback howls. */
  close(): void;
}

/** A failure in words, with what to do about it. */
export class SourceError extends Error {
  constructor(
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

/** Opens a source. ended is called when it ends by itself, as when people stop sharing a screen. */
export async function open(kind: Kind, label: string, ended: () => void): Promise<Source> {
  if (kind === "card") return testCard(label);
  const stream = await (kind === "camera" ? camera() : screen());
  const video = stream.getVideoTracks()[0];
  const audio = stream.getAudioTracks()[0];
  const close = () => {
    for (const track of stream.getTracks()) track.stop();
  };
  if (!video) {
    close();
    throw new SourceError("There is no picture", "Choose another source.");
  }
  video.addEventListener("ended", ended);
  return { video, ...(audio && { audio }), close };
}

async function camera(): Promise<MediaStream> {
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: true });
  } catch (error) {
    if (name(error) === "NotFoundError") return await navigator.mediaDevices.getUserMedia({ video }).catch(refuse("camera"));
    return refuse("camera")(error);
  }
}

async function screen(): Promise<MediaStream> {
  if (!navigator.mediaDevices?.getDisplayMedia) {
    throw new SourceError("This browser cannot share a screen", "Publish a camera or the test card.");
  }
  return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: true }).catch(refuse("screen"));
}

const name = (error: unknown) => (error instanceof DOMException ? error.name : "");

function refuse(what: string): (error: unknown) => never {
  return (error) => {
    switch (name(error)) {
      case "NotAllowedError":
        throw new SourceError(`The browser was not allowed to use the ${what}`, "Allow it beside the address of the page, and start again.");
      case "NotFoundError":
        throw new SourceError(`There is no ${what}`, "Connect one, or publish the test card.");
      case "NotReadableError":
        throw new SourceError(`The ${what} is in use`, "Close what else uses it, and start again.");
      default:
        throw new SourceError(`The ${what} did not start`, String(error));
    }
  };
}

// MediaStreamTrackGenerator is not in TypeScript's library: not all browsers have it.
declare const MediaStreamTrackGenerator: { new (init: { kind: "video" }): MediaStreamTrack & { writable: WritableStream<VideoFrame> } };

/** A picture that changes, and a beep every second. */
function testCard(label: string): Source {
  const picture = typeof MediaStreamTrackGenerator === "undefined" ? drawnHere(label) : drawnInWorker(label);
  const sound = beep();
  return {
    video: picture.track,
    audio: sound.track,
    close() {
      picture.close();
      sound.close();
    },
  };
}

interface Part {
  track: MediaStreamTrack;
  close(): void;
}

function drawnInWorker(label: string): Part {
  const track = new MediaStreamTrackGenerator({ kind: "video" });
  const worker = new Worker(new URL("./testcard.worker.ts", import.meta.url), { type: "module" });
  const frames = track.writable;
  worker.postMessage({ label, frames } satisfies Begin, [frames as unknown as Transferable]);
  return {
    track,
    close() {
      worker.terminate();
      track.stop();
    },
  };
}

/** Stops while the page is in the background, for browsers that have nothing better. */
function drawnHere(label: string): Part {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false });
  const paint = () => context && draw(context, Date.now(), label);
  paint();
  const timer = setInterval(paint, 1000 / fps);
  const track = canvas.captureStream(fps).getVideoTracks()[0]!;
  return {
    track,
    close() {
      clearInterval(timer);
      track.stop();
    },
  };
}

/** A second of sound, over and over, so that no timer of a page in the background matters. */
function beep(): Part {
  const context = new AudioContext({ sampleRate: 48000 });
  const second = context.createBuffer(1, context.sampleRate, context.sampleRate);
  const samples = second.getChannelData(0);
  const length = 0.12 * context.sampleRate;
  for (let i = 0; i < length; i++) {
    const fade = Math.min(1, i / 480, (length - i) / 480);
    samples[i] = 0.3 * fade * Math.sin((2 * Math.PI * 880 * i) / context.sampleRate);
  }
  const player = context.createBufferSource();
  player.buffer = second;
  player.loop = true;
  const out = context.createMediaStreamDestination();
  out.channelCount = 1;
  player.connect(out);
  player.start(context.currentTime + 1 - (Date.now() % 1000) / 1000);
  void context.resume();
  return {
    track: out.stream.getAudioTracks()[0]!,
    close() {
      player.stop();
      void context.close();
    },
  };
}
