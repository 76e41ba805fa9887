// Publishes a source to a relay.

import { Broadcast, Net, Signals, type Audio, type Video } from "@moq/publish";
import type { RelayNode } from "./config";
import { delay, follow, websocket, type LinkState } from "./link";
import type { Source } from "./sources";

const { Signal } = Signals;

// The package does not say what a session runs over. It counts what it sends
// where the transport has getStats, which a WebSocket never does; Chromium's
// WebTransport lacks it as well, and gets one here that knows nothing.
if (typeof WebTransport !== "undefined" && !("getStats" in WebTransport.prototype)) {
  Object.defineProperty(WebTransport.prototype, "getStats", { value: async () => ({}), configurable: true });
}

/** Enough for 1024 × 576, and little enough for a laptop's uplink. */
const maxBitrate = 2_500_000;

export class Publisher {
  readonly #reload: Net.Connection.Reload;
  readonly #broadcast: Broadcast;
  readonly #source: Source;
  readonly #stops: (() => void)[] = [];

  /**
   * Publishes source as name at the node. changed is called with the state of
   * the connection, watched with whether anybody watches.
   */
  constructor(node: RelayNode, name: string, source: Source, changed: (state: LinkState) => void, watched: (is: boolean) => void) {
    this.#source = source;
    this.#reload = new Net.Connection.Reload({ enabled: true, url: new URL(node.url), delay, websocket });
    this.#broadcast = new Broadcast({
      connection: this.#reload.established,
      enabled: true,
      name: Net.Path.from(name),
      video: { source: new Signal(source.video as Video.Source | undefined), hd: { enabled: true, config: { maxBitrate } } },
      audio: { enabled: source.audio !== undefined, source: new Signal(source.audio as Audio.Source | undefined) },
    });
    this.#stops.push(follow(this.#reload, changed));
    this.#stops.push(this.#broadcast.video.hd.active.subscribe(watched));
    watched(this.#broadcast.video.hd.active.peek());
  }

  /** Returns the codecs in use, once they are known. */
  codecs(): string {
    const names = [this.#broadcast.video.hd.resolved.peek()?.codec, this.#broadcast.audio.config.peek()?.codec];
    return names.filter((name) => name !== undefined).join(", ");
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#broadcast.close();
    this.#reload.close();
    this.#source.close();
  }
}
