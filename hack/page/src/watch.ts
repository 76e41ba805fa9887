// Watches a broadcast: a player, the state in words, and what is known about
// the way that the media took.

import { pick, place, type Config, type RelayNode } from "./config";
import { h, icon, rate, say } from "./dom";
import { CopyText, NodePicker, NoteBox, path, speaks, Tiles, title, type View } from "./parts";
import { Player, type Numbers } from "./player";
import { note, type Route } from "./route";
import { absentNote, browserNote, codecNote, linkNote, loadingNote, noNodeNote, webSocketNote, type Note } from "./states";
import { viewer } from "./viewer";

/** The part of the status page's look at the cluster that says where a broadcast comes from. */
interface Look {
  broadcasts: { broadcast: string; source: string }[];
}

class Watch extends HTMLElement implements View {
  config!: Config;
  route!: Route;
  #stops: (() => void)[] = [];

  connectedCallback(): void {
    if (this.route.view !== "watch") return;
    const name = this.route.name;
    title(name);
    const heading = h("h1", { tabindex: "-1" }, name);
    const node = pick(this.config, this.route.at);
    const trouble = new NoteBox();
    if (!node) {
      this.append(heading, trouble);
      trouble.show(noNodeNote());
      return;
    }
    const picker = new NodePicker();
    const stage = new Stage();
    const panel = new Panel();
    const hint = new NoteBox();
    const tiles = new Tiles();
    const more = h("section", { class: "more", "aria-labelledby": "more-title" }, h("h2", { id: "more-title" }, "Also live"), tiles);
    this.append(
      h("div", { class: "bar" }, heading, picker),
      h("div", { class: "watch" }, h("div", { class: "watch-main" }, stage, hint), panel),
      more,
    );
    const unable = browserNote("decode");
    if (unable) {
      stage.show(unable);
      panel.hidden = more.hidden = true;
      return;
    }
    this.#run(name, node, { picker, stage, panel, hint, tiles, more });
  }

  #run(
    name: string,
    first: RelayNode,
    parts: { picker: NodePicker; stage: Stage; panel: Panel; hint: NoteBox; tiles: Tiles; more: HTMLElement },
  ): void {
    let node = first;
    let from: string | undefined;
    const v = viewer();
    const { picker, stage, panel, hint, tiles, more } = parts;
    v.at(node);
    const player = new Player(name, stage.canvas);
    stage.control(player);
    const state = (): Note | undefined => {
      const trouble = linkNote(node, v.link.peek(), performance.now());
      if (trouble) return trouble;
      switch (player.stage.peek()) {
        case "absent":
          return absentNote(name, node);
        case "loading":
          return loadingNote(name);
        case "unplayable":
          return codecNote(player.codecs.peek());
        case "playing":
          return undefined;
      }
    };
    const show = () => {
      const link = v.link.peek();
      if (player.stage.peek() !== "playing") panel.clear();
      stage.show(state());
      hint.show(webSocketNote(link));
      panel.showLink(node, from, speaks(link));
      panel.showCommand(`${this.config.cli} sub ${node.url} --name ${name} -o - | ffplay -`);
      const names = v.broadcasts.peek();
      more.hidden = names.every((n) => n === name);
      tiles.show(names, node, name, "");
    };
    picker.fill("Watching at", this.config, node, (n) => {
      node = n;
      note({ view: "watch", name, at: n.name });
      v.at(n);
      show();
    });
    const count = () => {
      const numbers = player.numbers();
      if (player.stage.peek() === "playing") panel.showNumbers(numbers);
      show();
    };
    const locate = async () => {
      from = await this.#source(name);
    };
    const timers = [setInterval(count, 1000), setInterval(() => stage.loudness(player.level()), 50), setInterval(() => void locate(), 3000)];
    void locate();
    this.#stops = [
      v.link.subscribe(show),
      v.broadcasts.subscribe(show),
      player.stage.subscribe(show),
      () => timers.forEach(clearInterval),
      () => player.close(),
    ];
    show();
  }

  /** Asks the status page where the broadcast is published, if there is one. */
  async #source(name: string): Promise<string | undefined> {
    if (!this.config.status) return undefined;
    try {
      const response = await fetch(new URL(`${this.config.status}state`, document.baseURI));
      const look = (await response.json()) as Look;
      return look.broadcasts.find((b) => b.source && (b.broadcast === name || b.broadcast.startsWith(`${name}/`)))?.source;
    } catch {
      return undefined;
    }
  }

  disconnectedCallback(): void {
    for (const stop of this.#stops) stop();
  }
}

/** The picture, its controls, and words over it while there is no picture. */
class Stage extends HTMLElement {
  readonly canvas = h("canvas", { class: "picture", width: "1024", height: "576", role: "img", "aria-label": "The live picture" });
  readonly #words = new NoteBox();
  readonly #unmute = h("button", { type: "button", class: "unmute", hidden: true }, icon("muted"), "Unmute");
  readonly #play = h("button", { type: "button", class: "control" });
  readonly #sound = h("button", { type: "button", class: "control" });
  readonly #volume = h("input", { type: "range", min: "0", max: "1", step: "0.05", "aria-label": "Volume" });
  readonly #meter = h("span", { class: "level", "aria-hidden": "true" }, h("span"));
  readonly #full = h("button", { type: "button", class: "control", "aria-label": "Full screen", onclick: () => void this.#fullScreen() }, icon("full"));
  readonly #controls = h("div", { class: "controls" }, this.#play, this.#sound, this.#volume, this.#meter, h("span", { class: "grow" }), this.#full);

  connectedCallback(): void {
    this.append(h("div", { class: "screen" }, this.canvas, this.#words, this.#unmute), this.#controls);
    this.#controls.hidden = true;
  }

  show(note: Note | undefined): void {
    this.#words.show(note);
    this.classList.toggle("dimmed", note !== undefined);
  }

  /** Gives people control of a player. */
  control(player: Player): void {
    this.#controls.hidden = false;
    const show = () => {
      const paused = player.paused.peek();
      const muted = player.muted.peek();
      this.#play.replaceChildren(icon(paused ? "play" : "pause"));
      this.#play.setAttribute("aria-label", paused ? "Play" : "Pause");
      this.#sound.replaceChildren(icon(muted ? "muted" : "sound"));
      this.#sound.setAttribute("aria-label", muted ? "Unmute" : "Mute");
      this.#volume.value = String(player.volume.peek());
      this.#unmute.hidden = !muted || !player.hasSound.peek() || player.stage.peek() !== "playing";
    };
    const unmute = () => {
      const hadFocus = document.activeElement === this.#unmute;
      player.muted.set(!player.muted.peek());
      if (hadFocus) this.#sound.focus();
    };
    this.#play.addEventListener("click", () => player.paused.set(!player.paused.peek()));
    this.#sound.addEventListener("click", unmute);
    this.#unmute.addEventListener("click", unmute);
    this.#volume.addEventListener("input", () => {
      player.volume.set(this.#volume.valueAsNumber);
      player.muted.set(this.#volume.valueAsNumber === 0);
    });
    for (const signal of [player.paused, player.muted, player.volume, player.hasSound, player.stage]) signal.subscribe(show);
    show();
  }

  /** Shows how loud it is; the loudest is kept for who looks rarely. */
  loudness(level: number): void {
    this.#meter.style.setProperty("--level", String(Math.min(1, level * 2)));
    this.dataset["peak"] = String(Math.max(level, Number(this.dataset["peak"] ?? 0)));
  }

  async #fullScreen(): Promise<void> {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.requestFullscreen();
  }
}

/** What is known about the broadcast and its way here. */
class Panel extends HTMLElement {
  readonly #values = new Map<string, HTMLElement>();
  readonly #copy = new CopyText();

  connectedCallback(): void {
    const row = (id: string, label: string, explain?: string) => {
      const value = h("dd", { "data-value": id }, "–");
      this.#values.set(id, value);
      return h("div", {}, h("dt", explain ? { title: explain } : {}, label), value);
    };
    this.append(
      h("h2", {}, "This stream"),
      h(
        "dl",
        {},
        row("path", "Path"),
        row("region", "Region"),
        row("session", "Session"),
        row("age", "Age", "From the publisher's clock to this screen"),
        row("rate", "Rate"),
        row("video", "Picture"),
        row("buffer", "Buffer"),
      ),
      h("h2", {}, "On the command line"),
      this.#copy,
    );
  }

  #set(id: string, text: string): void {
    const value = this.#values.get(id);
    if (value) say(value, text === "" ? "–" : text);
  }

  showLink(node: RelayNode, from: string | undefined, session: string): void {
    this.#set("path", path(from, node));
    this.#set("region", node.region ? `${node.region}, node ${node.name}` : place(node));
    this.#set("session", session);
  }

  showNumbers(n: Numbers): void {
    const rtt = n.rtt === undefined ? "" : `, ${Math.round(n.rtt)} ms round trip`;
    this.#set("age", n.age === undefined ? "the picture has no clock" : `${Math.round(n.age)} ms`);
    this.#set("rate", `${rate(n.bits)}, ${n.fps.toFixed(0)} pictures/s`);
    this.#set("video", [n.size, n.codecs].filter((s) => s !== "").join(", "));
    this.#set("buffer", `${Math.round(n.buffer)} ms${rtt}`);
  }

  /** Takes back the numbers, when nothing plays. */
  clear(): void {
    for (const id of ["age", "rate", "video", "buffer"]) this.#set(id, "");
  }

  showCommand(command: string): void {
    this.#copy.show("the command that watches this", command);
  }
}

customElements.define("mq-stage", Stage);
customElements.define("mq-panel", Panel);
customElements.define("mq-watch", Watch);
