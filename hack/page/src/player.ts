// Plays a broadcast on a canvas: the parts that <moq-watch> has, over the
// viewer's connection and with what the page shows about it.

import { Audio, Broadcast, Net, Signals, Sync, Video } from "@moq/watch";
import { Reader } from "./stamp";
import { viewer } from "./viewer";

const { Effect, Signal } = Signals;

/** Numbers about what plays. */
export interface Numbers {
  /** Bits per second that come in. */
  bits: number;
  /** Pictures per second that are decoded. */
  fps: number;
  /** How old the picture is, in milliseconds, if it says so. */
  age: number | undefined;
  /** How much is kept in the buffer, in milliseconds. */
  buffer: number;
  /** The round trip to the relay in milliseconds, if it is known. */
  rtt: number | undefined;
  size: string;
  codecs: string;
}

/** What the broadcast is at. */
export type Stage = "absent" | "loading" | "unplayable" | "playing";

export class Player {
  readonly paused = new Signal(false);
  readonly muted = new Signal(true); // browsers play no sound before people touch the page
  readonly volume = new Signal(0.5);
  readonly stage = new Signal<Stage>("absent");
  /** The codecs that the catalog names. */
  readonly codecs = new Signal<string[]>([]);
  readonly hasSound = new Signal(false);

  readonly #signals = new Effect();
  readonly #canvas: HTMLCanvasElement;
  readonly #video: Video.Decoder;
  readonly #audio: Audio.Decoder;
  readonly #sync: Sync;
  readonly #stamp = new Reader();
  #analyser: AnalyserNode | undefined;
  #before = { at: performance.now(), bytes: 0, frames: 0 };

  constructor(name: string, canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    const connection = viewer().reload.established;
    const broadcast = new Broadcast({
      connection,
      enabled: true,
      name: Net.Path.from(name),
      reload: true,
      catalogFormat: name.endsWith(".msf") ? "msf" : "hang",
    });
    const videoSource = new Video.Source({ broadcast, supported: Video.Decoder.supported });
    const audioSource = new Audio.Source({ broadcast, supported: Audio.Decoder.supported });
    this.#sync = new Sync({ latency: "real-time", connection, video: videoSource.out.jitter, audio: audioSource.out.jitter });
    const showing = new Signal(true);
    const sounding = new Signal(false);
    this.#video = new Video.Decoder(videoSource, this.#sync, { enabled: showing });
    this.#audio = new Audio.Decoder(audioSource, this.#sync, { enabled: sounding });
    const emitter = new Audio.Emitter(this.#audio, { volume: this.volume, muted: this.muted, paused: this.paused });
    const renderer = new Video.Renderer(this.#video, { canvas, visible: "always" });

    const s = this.#signals;
    s.proxy(sounding, emitter.out.enabled);
    s.run((e) => {
      const paused = e.get(this.paused);
      const blank = e.get(renderer.out.frame) === undefined;
      showing.set(e.get(renderer.out.visible) && (!paused || blank));
    });
    s.run((e) => {
      const root = e.get(this.#audio.out.root);
      if (!root) return;
      const analyser = new AnalyserNode(root.context, { fftSize: 2048 });
      root.connect(analyser);
      this.#analyser = analyser;
      e.cleanup(() => {
        analyser.disconnect(); // its way in goes with root, which its owner cuts
        this.#analyser = undefined;
      });
    });
    s.run((e) => {
      const catalog = e.get(broadcast.out.catalog);
      const named = [
        ...Object.values(catalog?.video?.renditions ?? {}).map((r) => r.codec),
        ...Object.values(catalog?.audio?.renditions ?? {}).map((r) => r.codec),
      ];
      this.codecs.set([...new Set(named)]);
      this.hasSound.set(Object.keys(catalog?.audio?.renditions ?? {}).length > 0);
      const unplayable = e.get(videoSource.out.error) === "unsupported";
      const picture = e.get(this.#video.out.timestamp) !== undefined;
      const active = e.get(broadcast.out.active) !== undefined;
      if (!active) this.stage.set("absent");
      else if (unplayable) this.stage.set("unplayable");
      else this.stage.set(catalog && picture ? "playing" : "loading");
    });
    for (const part of [broadcast, videoSource, audioSource, this.#sync, this.#video, this.#audio, emitter, renderer]) {
      s.cleanup(() => part.close());
    }
  }

  /** Returns how loud it is, 0 to 1. */
  level(): number {
    if (!this.#analyser || this.muted.peek()) return 0;
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  }

  /** Returns the numbers since the call before. */
  numbers(): Numbers {
    const at = performance.now();
    const video = this.#video.out.stats.peek();
    const audio = this.#audio.out.stats.peek();
    const bytes = (video?.bytesReceived ?? 0) + (audio?.bytesReceived ?? 0);
    const frames = video?.frameCount ?? 0;
    const seconds = (at - this.#before.at) / 1000;
    const since = (now: number, before: number) => (seconds > 0 ? Math.max(0, now - before) / seconds : 0);
    const display = this.#video.out.display.peek();
    const numbers = {
      bits: 8 * since(bytes, this.#before.bytes),
      fps: since(frames, this.#before.frames),
      age: this.stage.peek() === "playing" ? this.#stamp.age(this.#canvas) : undefined,
      buffer: this.#sync.out.buffer.peek(),
      rtt: viewer().reload.probe.peek()?.rtt,
      size: display ? `${display.width} × ${display.height}` : "",
      codecs: this.codecs.peek().join(", "),
    };
    this.#before = { at, bytes, frames };
    return numbers;
  }

  close(): void {
    this.#signals.close();
  }
}
