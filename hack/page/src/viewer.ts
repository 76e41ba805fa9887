// One connection to the relay that people watch from, shared by the list of
// broadcasts and the player, and kept from one view to the next.

import { Net, Signals } from "@moq/watch";
import type { RelayNode } from "./config";
import { delay, follow, websocket, type LinkState } from "./link";

const { Signal } = Signals;

/** Broadcasts that are no one's to watch. */
const internal = /^(internal\/|\.)/;

class Viewer {
  readonly #url = new Signal<URL | undefined>(undefined);
  readonly reload = new Net.Connection.Reload({ enabled: true, url: this.#url, delay, websocket });
  /** The names of what is announced, in order. */
  readonly broadcasts = new Signal<readonly string[]>([]);
  readonly link = new Signal<LinkState>({ phase: "connecting", since: performance.now() });

  constructor() {
    follow(this.reload, (state) => this.link.set(state));
    void this.#listen();
  }

  /** Watches from this node on. */
  at(node: RelayNode): void {
    const url = new URL(node.url);
    if (url.href !== this.#url.peek()?.href) this.#url.set(url);
  }

  async #listen(): Promise<void> {
    const names = new Set<string>();
    const announced = this.reload.announced(Net.Path.empty());
    for (;;) {
      const event = await announced.next();
      if (!event) return;
      const name = event.path.toString();
      if (internal.test(name)) continue;
      if (event.active) names.add(name);
      else names.delete(name);
      this.broadcasts.set([...names].sort());
    }
  }
}

let only: Viewer | undefined;

/** Returns the viewer of this page. */
export function viewer(): Viewer {
  only ??= new Viewer();
  return only;
}
