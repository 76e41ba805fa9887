// The states that people can meet, each in words and with what to do about it.
// Pure functions of what is known, so that they can be read in one go.

import type { RelayNode } from "./config";
import { place } from "./config";
import { span } from "./dom";
import type { LinkState } from "./link";
import { href } from "./route";

/** A state in words. */
export interface Note {
  /** For tests and styles. */
  id: string;
  tone: "busy" | "bad" | "info";
  title: string;
  remedy: string;
  /** A link that carries out the remedy. */
  action?: { text: string; href: string };
}

/** What keeps this browser from doing anything at all. */
export function browserNote(what: "decode" | "encode"): Note | undefined {
  if (!isSecureContext) {
    const here = new URL(location.href);
    here.hostname = "localhost";
    return {
      id: "insecure",
      tone: "bad",
      title: "This page is not in a secure context",
      remedy: "Browsers give pages video codecs, cameras and WebTransport on https and on localhost only. Open it there, for example through a port forward.",
      action: { text: `Open ${here.host}`, href: here.href },
    };
  }
  const missing = what === "decode" ? typeof VideoDecoder === "undefined" : typeof VideoEncoder === "undefined";
  if (missing) {
    return {
      id: "no-codecs",
      tone: "bad",
      title: `This browser cannot ${what} video here`,
      remedy: "It lacks WebCodecs. Use a current Chrome, Edge, Firefox or Safari.",
    };
  }
  return undefined;
}

/** What the connection to a relay is at, if it is not up. */
export function linkNote(node: RelayNode, link: LinkState, now: number): Note | undefined {
  if (link.phase === "connected") return undefined;
  if (link.phase === "connecting") {
    return { id: "connecting", tone: "busy", title: `Connecting to ${place(node)}`, remedy: "This takes a moment." };
  }
  return {
    id: "unreachable",
    tone: "bad",
    title: `${place(node)} does not answer`,
    remedy: `Tried for ${span(now - link.since)}, and goes on trying. Does the cluster run, and do UDP and TCP reach ${new URL(node.url).host}?`,
  };
}

/** Why media goes over WebSocket, if it does. */
export function webSocketNote(link: LinkState): Note | undefined {
  if (link.transport !== "WebSocket") return undefined;
  const missing = typeof WebTransport === "undefined";
  return {
    id: "websocket",
    tone: "info",
    title: missing ? "Over WebSocket, because this browser has no WebTransport" : "Over WebSocket, because WebTransport did not get through",
    remedy: missing
      ? "It plays the same, but a lost packet delays all that follows. Chrome and Edge have WebTransport."
      : "It plays the same, but a lost packet delays all that follows. Let UDP through to the relay's port, or look at its certificate.",
  };
}

/** A broadcast that nobody publishes. */
export function absentNote(name: string, at: RelayNode): Note {
  return {
    id: "absent",
    tone: "busy",
    title: `${name} is not announced at ${place(at)} yet`,
    remedy: "It starts by itself when somebody publishes it.",
    action: { text: "Publish it", href: href({ view: "publish", name, at: null, source: null }) },
  };
}

/** A broadcast whose catalog has not come yet. */
export function loadingNote(name: string): Note {
  return { id: "loading", tone: "busy", title: `Loading ${name}`, remedy: "The first picture comes with the next group." };
}

/** A broadcast without anything that this browser can play. */
export function codecNote(codecs: string[]): Note {
  return {
    id: "codec",
    tone: "bad",
    title: `This browser cannot play ${codecs.join(", ")}`,
    remedy: "Publish H.264 or VP9 with Opus, or watch in another browser.",
  };
}

/** A node that the cluster does not have. */
export function noNodeNote(): Note {
  return { id: "no-node", tone: "bad", title: "The cluster has no relay", remedy: "Start one: moq up -f config/samples/relaycluster.yaml" };
}
