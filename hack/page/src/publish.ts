// Publishes a test card, a camera or a screen.

import { pick, place, type Config, type RelayNode } from "./config";
import { h, icon, say, type Icon } from "./dom";
import type { LinkState } from "./link";
import { CopyText, NodePicker, NoteBox, speaks, title, type View } from "./parts";
import { Publisher } from "./publisher";
import { href, note, type Route } from "./route";
import { kinds, open, SourceError, type Kind, type Source } from "./sources";
import { browserNote, linkNote, noNodeNote, webSocketNote } from "./states";

const labels: Record<Kind, { text: string; icon: Icon; explain: string }> = {
  card: { text: "Test card", icon: "card", explain: "A picture with a clock, and a beep" },
  camera: { text: "Camera", icon: "camera", explain: "With its microphone" },
  screen: { text: "Screen", icon: "screen", explain: "A window or all of it" },
};

/** Names that a relay takes: parts of letters, digits and a few signs. */
const namePattern = "[A-Za-z0-9][A-Za-z0-9._\\-]*(/[A-Za-z0-9][A-Za-z0-9._\\-]*)*";

class Publish extends HTMLElement implements View {
  config!: Config;
  route!: Route;
  #publisher: Publisher | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  #node!: RelayNode;
  #kind: Kind = "card";
  #link: LinkState | undefined;
  #watched = false;
  #starting = 0; // counts starts, so that a late one knows that it was stopped

  readonly #trouble = new NoteBox();
  readonly #hint = new NoteBox();
  readonly #picker = new NodePicker();
  readonly #name = h("input", { id: "name", name: "name", type: "text", required: true, pattern: namePattern, maxlength: "200", spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-describedby": "name-hint" });
  readonly #sources = h("div", { class: "sources" });
  readonly #start = h("button", { type: "submit", class: "primary" }, "Start publishing");
  readonly #stop = h("button", { type: "button", class: "danger", onclick: () => this.#end() }, "Stop publishing");
  readonly #preview = h("video", { class: "picture", muted: true, autoplay: true, playsinline: true, "aria-label": "Preview of what is published" });
  readonly #idle = h("p", { class: "idle" }, "The preview appears here.");
  readonly #onAir = h("span", { class: "on-air" }, "On air");
  readonly #facts = h("dl", { class: "facts" });
  readonly #after = h("section", { class: "after", "aria-labelledby": "after-title" });
  readonly #copy = new CopyText();

  connectedCallback(): void {
    if (this.route.view !== "publish") return;
    title("Publish");
    const heading = h("h1", { tabindex: "-1" }, "Publish");
    const node = pick(this.config, this.route.at);
    if (!node) {
      this.append(heading, this.#trouble);
      this.#trouble.show(noNodeNote());
      return;
    }
    this.#node = node;
    this.#kind = kinds.find((k) => this.route.view === "publish" && k === this.route.source) ?? "card";
    this.#name.value = this.route.name ?? "demo/card";
    this.#preview.muted = true;
    this.#onAir.hidden = this.#stop.hidden = this.#after.hidden = true;
    const form = h(
      "form",
      {
        onsubmit: (event: Event) => {
          event.preventDefault();
          void this.#begin();
        },
      },
      this.#picker,
      h("fieldset", {}, h("legend", {}, "What"), this.#sources),
      h("label", { for: "name" }, "Name"),
      this.#name,
      h("p", { class: "hint", id: "name-hint" }, "Letters, digits, dots, dashes; a slash groups names."),
      h("div", { class: "buttons" }, this.#start, this.#stop),
    );
    this.append(
      h("div", { class: "bar" }, heading),
      this.#trouble,
      h(
        "div",
        { class: "publish" },
        h("section", { class: "card", "aria-label": "What to publish" }, form),
        h(
          "section",
          { class: "card", "aria-label": "Preview" },
          h("div", { class: "screen" }, this.#preview, this.#idle, this.#onAir),
          this.#facts,
          this.#hint,
          this.#after,
        ),
      ),
    );
    this.#fillSources();
    this.#picker.fill("Where", this.config, node, (n) => {
      this.#node = n;
      this.#remember();
    });
    this.#name.addEventListener("change", () => this.#remember());
    this.#trouble.show(browserNote("encode"));
    this.#start.disabled = browserNote("encode") !== undefined;
  }

  disconnectedCallback(): void {
    this.#end();
  }

  #fillSources(): void {
    this.#sources.replaceChildren(
      ...kinds.map((kind) => {
        const input = h("input", {
          type: "radio",
          name: "source",
          value: kind,
          onchange: () => {
            this.#kind = kind;
            this.#remember();
          },
        });
        input.checked = kind === this.#kind;
        const { text, explain, icon: picture } = labels[kind];
        return h("label", { class: "source" }, input, icon(picture), h("span", {}, h("strong", {}, text), h("span", { class: "soft" }, explain)));
      }),
    );
  }

  #remember(): void {
    note({ view: "publish", at: this.#node.name, name: this.#name.value, source: this.#kind });
  }

  async #begin(): Promise<void> {
    if (this.#publisher || this.#start.disabled) return;
    const mine = ++this.#starting;
    this.#start.disabled = true;
    this.#trouble.show({ id: "starting", tone: "busy", title: `Starting the ${labels[this.#kind].text.toLowerCase()}`, remedy: "The browser may ask for permission." });
    let source: Source;
    try {
      source = await open(this.#kind, `${this.#name.value}, published at ${place(this.#node)}`, () => this.#end());
    } catch (error) {
      if (mine !== this.#starting) return;
      this.#start.disabled = false;
      const { message, remedy } = error instanceof SourceError ? error : { message: String(error), remedy: "Choose another source." };
      this.#trouble.show({ id: "source", tone: "bad", title: message, remedy });
      return;
    }
    if (mine !== this.#starting) {
      source.close();
      return;
    }
    this.#remember();
    this.#preview.srcObject = new MediaStream([source.video]);
    this.#publisher = new Publisher(
      this.#node,
      this.#name.value,
      source,
      (link) => {
        this.#link = link;
        this.#show();
      },
      (is) => {
        this.#watched = is;
        this.#show();
      },
    );
    const hadFocus = document.activeElement === this.#start;
    this.#timer = setInterval(() => this.#show(), 1000);
    this.#lock(true);
    if (hadFocus) this.#stop.focus();
    this.#fillAfter();
    this.#show();
  }

  #end(): void {
    this.#starting++;
    clearInterval(this.#timer);
    this.#publisher?.close();
    this.#publisher = undefined;
    this.#link = undefined;
    this.#watched = false;
    this.#preview.srcObject = null;
    this.#trouble.show(browserNote("encode"));
    this.#hint.show(undefined);
    const hadFocus = document.activeElement === this.#stop;
    this.#lock(false);
    if (hadFocus) this.#start.focus();
    this.#facts.replaceChildren();
  }

  /** While it is published, nothing about it changes. */
  #lock(on: boolean): void {
    this.#start.hidden = on;
    this.#start.disabled = false;
    this.#stop.hidden = this.#after.hidden = !on;
    this.#onAir.hidden = true;
    this.#idle.hidden = on;
    this.#name.readOnly = on;
    this.#picker.disabled = on;
    for (const input of this.#sources.querySelectorAll("input")) input.disabled = on;
  }

  /** Says where to go next. */
  #fillAfter(): void {
    const name = this.#name.value;
    const others = this.config.nodes.filter((n) => n.region !== this.#node.region);
    const places = (others.length > 0 ? others : this.config.nodes).filter((n, i, all) => all.findIndex((o) => o.region === n.region) === i);
    this.#after.replaceChildren(
      h("h2", { id: "after-title" }, "Watch it"),
      h(
        "p",
        { class: "buttons" },
        ...places.map((n, i) =>
          h(
            "a",
            { class: i === 0 ? "button primary" : "button", href: href({ view: "watch", name, at: n.name }), target: "_blank", rel: "noopener" },
            `Watch at ${place(n)}`,
            h("span", { class: "visually-hidden" }, " (opens a new tab)"),
          ),
        ),
      ),
      this.#copy,
    );
    const from = places[0] ?? this.#node;
    this.#copy.show("the command that watches this", `${this.config.cli} sub ${from.url} --name ${name} -o - | ffplay -`);
  }

  #show(): void {
    if (!this.#publisher || !this.#link) return;
    const link = this.#link;
    this.#trouble.show(linkNote(this.#node, link, performance.now()));
    this.#hint.show(webSocketNote(link));
    const up = link.phase === "connected";
    this.#onAir.hidden = !up;
    const facts: [string, string, string][] = [
      ["session", "Session", up ? speaks(link) : "–"],
      ["audience", "Audience", this.#watched ? "Somebody watches" : "Nobody watches yet; nothing is encoded until somebody does"],
      ["codecs", "Codecs", this.#publisher.codecs() || "–"],
    ];
    if (this.#facts.childElementCount === 0) {
      this.#facts.append(...facts.map(([id, label]) => h("div", {}, h("dt", {}, label), h("dd", { "data-value": id }))));
    }
    for (const [id, , text] of facts) {
      const value = this.#facts.querySelector(`[data-value="${id}"]`);
      if (value) say(value, text);
    }
  }
}

customElements.define("mq-publish", Publish);
