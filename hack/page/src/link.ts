// The state of a connection to a relay, as the page shows it. The two packages
// that play and publish bring a connection each, of different age; both fit.

export interface LinkState {
  phase: "connecting" | "connected" | "unreachable";
  /** When the phase began, in milliseconds of performance.now(). */
  since: number;
  version?: string;
  transport?: "WebTransport" | "WebSocket";
}

/** Keeps trying for ever: a relay that was restarted is found again. */
export const delay = { initial: 500, multiplier: 1.6, max: 3000, timeout: 0 };

/**
 * A WebSocket is tried this much later than WebTransport, in milliseconds. The
 * packages' half second is little for a busy machine, and where a WebSocket has
 * won once, they give WebTransport no start again.
 */
export const websocket = { delay: 1500 };

/** How long the first attempt may take before it counts as failed. */
const patience = 4000;

interface Getter<T> {
  peek(): T;
  subscribe(f: (value: T) => void): () => void;
}

interface Session {
  readonly version: string;
  readonly transport?: "webtransport" | "websocket";
  readonly sendBandwidth?: unknown;
}

interface Reloading {
  readonly url: Getter<URL | undefined>;
  readonly status: Getter<"connecting" | "connected" | "disconnected">;
  readonly established: Getter<Session | undefined>;
}

/** Follows a connection: changed is called now and whenever the state changes. Returns what ends that. */
export function follow(reload: Reloading, changed: (state: LinkState) => void): () => void {
  let state: LinkState = { phase: "connecting", since: performance.now() };
  let late: ReturnType<typeof setTimeout> | undefined;
  let tried = false;
  const become = (phase: LinkState["phase"], session?: Session) => {
    clearTimeout(late);
    if (phase === "connecting") late = setTimeout(() => become("unreachable"), patience);
    const since = phase === state.phase ? state.since : performance.now();
    state = { phase, since, ...(session && { version: session.version, transport: transportOf(session) }) };
    changed(state);
  };
  const look = () => {
    const session = reload.established.peek();
    if (session) {
      tried = false;
      become("connected", session);
    } else if (reload.status.peek() === "connecting") {
      if (state.phase !== "unreachable") become("connecting");
      tried = true;
    } else if (tried) {
      become("unreachable");
    }
  };
  const stops = [
    reload.status.subscribe(look),
    reload.established.subscribe(look),
    reload.url.subscribe(() => {
      tried = false;
      become("connecting");
    }),
  ];
  look();
  changed(state);
  return () => {
    clearTimeout(late);
    for (const stop of stops) stop();
  };
}

/** Tells what a session runs over; see publisher.ts for the package that does not say. */
function transportOf(session: Session): "WebTransport" | "WebSocket" {
  if (session.transport) return session.transport === "websocket" ? "WebSocket" : "WebTransport";
  return session.sendBandwidth === undefined ? "WebSocket" : "WebTransport";
}
