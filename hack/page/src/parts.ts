// The parts that views are made of. Each is a custom element in light DOM.

import { place, type Config, type RelayNode } from "./config";
import { h, icon, say } from "./dom";
import type { LinkState } from "./link";
import { href, type Route } from "./route";
import type { Note } from "./states";

/** A state in words, with its remedy; hidden while there is none. */
export class NoteBox extends HTMLElement {
  readonly #title = h("strong");
  readonly #remedy = h("span");
  readonly #action = h("a", { class: "button small" });
  #shown = "";

  connectedCallback(): void {
    if (this.childElementCount > 0) return;
    this.setAttribute("role", "status");
    this.append(h("span", { class: "note-mark", "aria-hidden": "true" }), h("p", {}, this.#title, " ", this.#remedy), this.#action);
    this.hidden = true;
    this.#action.hidden = true;
  }

  show(note: Note | undefined): void {
    this.hidden = note === undefined;
    this.dataset["state"] = note?.id ?? "";
    this.dataset["tone"] = note?.tone ?? "";
    if (!note) {
      this.#shown = "";
      return;
    }
    const text = `${note.id} ${note.title} ${note.remedy}`;
    if (text === this.#shown) return;
    this.#shown = text;
    say(this.#title, `${note.title}.`);
    say(this.#remedy, note.remedy);
    this.#action.hidden = note.action === undefined;
    if (note.action) {
      say(this.#action, note.action.text);
      this.#action.href = note.action.href;
    }
  }
}

/** A choice of the node, and so of the region. */
export class NodePicker extends HTMLElement {
  #inputs: HTMLInputElement[] = [];

  /** Fills the element; chosen is called when people choose another. */
  fill(legend: string, config: Config, current: RelayNode, chosen: (node: RelayNode) => void): void {
    const group = `node-${Math.random().toString(36).slice(2)}`;
    this.#inputs = [];
    const regions = Map.groupBy(config.nodes, (n) => n.region || "the root");
    const sets = [...regions].map(([region, nodes]) =>
      h(
        "span",
        { class: "region" },
        h("span", { class: "region-name" }, region),
        ...nodes.map((n) => {
          const input = h("input", { type: "radio", name: group, value: n.name, onchange: () => chosen(n) });
          input.checked = n.name === current.name;
          this.#inputs.push(input);
          return h("label", { class: "pill" }, input, h("span", {}, n.name));
        }),
      ),
    );
    this.replaceChildren(h("fieldset", {}, h("legend", {}, legend), h("div", { class: "regions" }, ...sets)));
  }

  set disabled(is: boolean) {
    for (const input of this.#inputs) input.disabled = is;
  }
}

/** A command and a button that copies it. */
export class CopyText extends HTMLElement {
  readonly #code = h("code", { tabindex: "0" });
  readonly #label = h("span", {}, "Copy");
  readonly #button = h("button", { type: "button", class: "small", onclick: () => void this.#copy() }, icon("copy"), this.#label);

  connectedCallback(): void {
    if (this.childElementCount > 0) return;
    this.append(this.#code, this.#button);
  }

  show(what: string, text: string): void {
    say(this.#code, text);
    this.#code.setAttribute("aria-label", what);
    this.#button.setAttribute("aria-label", `Copy ${what}`);
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.#code.textContent);
      say(this.#label, "Copied");
    } catch {
      getSelection()?.selectAllChildren(this.#code);
      say(this.#label, "Selected");
    }
    setTimeout(() => say(this.#label, "Copy"), 2000);
  }
}

/** What is live, a tile each. */
export class Tiles extends HTMLElement {
  readonly #list = h("ul", { class: "tiles" });
  readonly #empty = h("p", { class: "empty" });

  connectedCallback(): void {
    if (this.childElementCount > 0) return;
    this.append(this.#list, this.#empty);
  }

  /** Tiles that stay are left where they are, with the focus that they may have. */
  show(names: readonly string[], at: RelayNode, current: string | undefined, empty: string): void {
    this.#empty.hidden = names.length > 0 || empty === "";
    say(this.#empty, empty);
    for (const tile of [...this.#list.children]) {
      if (!names.includes((tile as HTMLElement).dataset["name"] ?? "")) tile.remove();
    }
    names.forEach((name, i) => {
      let item = this.#list.children[i] as HTMLElement | undefined;
      if (item?.dataset["name"] !== name) {
        const made = tile(name);
        this.#list.insertBefore(made, item ?? null);
        item = made;
      }
      const link = item.firstElementChild as HTMLAnchorElement;
      link.href = href({ view: "watch", name, at: at.name });
      if (name === current) link.setAttribute("aria-current", "page");
      say(link.lastElementChild!, name === current ? "Watching" : "Live");
    });
  }
}

function tile(name: string): HTMLElement {
  const slash = name.lastIndexOf("/") + 1;
  return h(
    "li",
    { "data-name": name },
    h(
      "a",
      { class: "tile" },
      h("span", { class: "tile-art" }, icon("live")),
      h("span", { class: "tile-name" }, slash > 0 && h("span", { class: "soft" }, name.slice(0, slash)), name.slice(slash)),
      h("span", { class: "tile-live" }),
    ),
  );
}

/** Says what a session runs over: "moq-lite-05 over WebTransport". */
export function speaks(link: LinkState): string {
  return link.version && link.transport ? `${link.version} over ${link.transport}` : "–";
}

/** The way of the media: published, watched, and where you are. */
export function path(from: string | undefined, at: RelayNode): string {
  return [...(from && from !== at.name ? [from] : []), at.name, "you"].join(" › ");
}

/** Sets what the window is called. */
export function title(text: string): void {
  document.title = `${text} · moqrelay`;
}

/** A view: fills the page, and lets go of everything when it leaves. */
export interface View extends HTMLElement {
  config: Config;
  route: Route;
}

export { place };

customElements.define("mq-note", NoteBox);
customElements.define("mq-nodes", NodePicker);
customElements.define("mq-copy", CopyText);
customElements.define("mq-tiles", Tiles);
