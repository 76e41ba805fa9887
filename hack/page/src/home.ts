// The first view: what this is, and what is live.

import { pick, place, type Config } from "./config";
import { h, icon } from "./dom";
import { NodePicker, NoteBox, Tiles, title, type View } from "./parts";
import { href, note, type Route } from "./route";
import { browserNote, linkNote, noNodeNote } from "./states";
import { viewer } from "./viewer";

/** A picture of what the page is for: a broadcast goes in at one region and comes out at another. */
function art(config: Config): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const add = (tag: string, attributes: Record<string, string | number>, text = "") => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, String(v));
    e.textContent = text;
    svg.append(e);
  };
  const regions = [...new Set(config.nodes.map((n) => n.region))];
  svg.setAttribute("viewBox", "0 0 400 220");
  svg.setAttribute("class", "hero-art");
  svg.setAttribute("aria-hidden", "true");
  for (const [x, name] of [[130, regions[0]], [270, regions.at(-1)]] as const) {
    add("circle", { cx: x, cy: 96, r: 58, class: "zone" });
    add("text", { x, y: 180, class: "small-text" }, name ?? "");
  }
  add("path", { d: "M52 96H108M152 96H248M292 96H348", class: "wire" });
  for (const x of [130, 270]) add("circle", { cx: x, cy: 96, r: 20 });
  add("rect", { x: 8, y: 78, width: 44, height: 34, rx: 6 });
  add("rect", { x: 348, y: 78, width: 44, height: 34, rx: 6 });
  add("text", { x: 30, y: 100 }, "●");
  add("text", { x: 371, y: 101 }, "▶");
  return svg;
}

class Home extends HTMLElement implements View {
  config!: Config;
  route!: Route;
  #stops: (() => void)[] = [];

  connectedCallback(): void {
    title(this.config.cluster);
    const state = new NoteBox();
    const picker = new NodePicker();
    const tiles = new Tiles();
    let node = pick(this.config, this.route.at);
    this.append(
      h(
        "section",
        { class: "hero" },
        h("h1", { tabindex: "-1" }, "Publish in one region, watch in another"),
        h(
          "p",
          {},
          "Live media through the relays of ",
          h("strong", {}, this.config.cluster),
          ". Put a test card on the air, then open it at a relay of another region: the page shows how old each picture is.",
        ),
        h("a", { class: "button primary", href: href({ view: "publish", name: null, at: null, source: null }) }, icon("card"), "Publish a test card"),
        art(this.config),
      ),
      h("section", { class: "live", "aria-labelledby": "live-title" }, h("div", { class: "bar" }, h("h2", { id: "live-title" }, "Live now"), picker), state, tiles),
    );
    if (!node) {
      state.show(noNodeNote());
      return;
    }
    const v = viewer();
    const show = () => {
      if (!node) return;
      const link = v.link.peek();
      const trouble = linkNote(node, link, performance.now());
      state.show(browserNote("decode") ?? trouble);
      const names = v.broadcasts.peek();
      tiles.show(names, node, undefined, trouble ? "" : `Nothing is announced at ${place(node)}. A tile appears here as soon as somebody publishes.`);
    };
    picker.fill("Seen from", this.config, node, (n) => {
      node = n;
      note({ view: "home", at: n.name });
      v.at(n);
      show();
    });
    v.at(node);
    const timer = setInterval(show, 1000);
    this.#stops = [v.broadcasts.subscribe(show), v.link.subscribe(show), () => clearInterval(timer)];
    show();
  }

  disconnectedCallback(): void {
    for (const stop of this.#stops) stop();
  }
}

customElements.define("mq-home", Home);
