// The frame around the views: it reads the address, loads the view that the
// address names, and leads from one to the next.

import "./style.css";
import { load, type Config } from "./config";
import { h } from "./dom";
import type { View } from "./parts";
import { base, href, parse, type Route } from "./route";

const views: Record<Route["view"], () => Promise<unknown>> = {
  home: () => import("./home"),
  watch: () => import("./watch"),
  publish: () => import("./publish"),
};

const main = h("main", { tabindex: "-1" });
const links = {
  home: h("a", { href: base }, "Watch"),
  publish: h("a", { href: href({ view: "publish", name: null, at: null, source: null }) }, "Publish"),
};

function header(config: Config): HTMLElement {
  return h(
    "header",
    {},
    h("a", { class: "brand", href: base }, h("img", { src: "icon.svg", alt: "", width: "22", height: "22" }), "moqrelay", h("span", { class: "soft" }, config.cluster)),
    h("nav", { "aria-label": "Main" }, links.home, links.publish, config.status !== "" && h("a", { href: new URL(config.status, document.baseURI).href, "data-leave": "" }, "Network")),
  );
}

function footer(): HTMLElement {
  return h(
    "footer",
    {},
    h("span", {}, "Media over QUIC, by moqrelay"),
    h("a", { href: "licenses.md", "data-leave": "" }, "Licenses of what this page is made of"),
  );
}

let shown = 0;

async function show(config: Config, focus: boolean): Promise<void> {
  const mine = ++shown;
  const route = parse(new URL(location.href));
  links.home.toggleAttribute("aria-current", false);
  links.publish.toggleAttribute("aria-current", false);
  (route.view === "publish" ? links.publish : links.home).setAttribute("aria-current", "page");
  await views[route.view]();
  if (mine !== shown) return;
  const view = document.createElement(`mq-${route.view}`) as View;
  view.config = config;
  view.route = route;
  main.replaceChildren(view);
  if (focus) {
    scrollTo(0, 0);
    main.querySelector<HTMLElement>("h1")?.focus();
  }
}

/** Follows links within the page without loading it again. */
function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest?.("a");
  if (!link || link.target || "leave" in link.dataset || link.origin !== location.origin || !link.pathname.startsWith(base)) return;
  event.preventDefault();
  const to = parse(new URL(link.href));
  const from = parse(new URL(location.href));
  if (to.view === "home" && to.at === null && from.view !== "publish") to.at = from.at; // who watches stays where they are
  history.pushState(null, "", href(to));
  dispatchEvent(new PopStateEvent("popstate"));
}

async function start(): Promise<void> {
  try {
    const config = await load();
    document.body.append(h("button", { type: "button", class: "skip", onclick: () => main.focus() }, "Skip to content"), header(config), main, footer());
    addEventListener("click", follow);
    addEventListener("popstate", () => void show(config, true));
    await show(config, false);
  } catch (error) {
    document.body.append(
      h("main", {}, h("h1", {}, "This page did not start"), h("p", { role: "alert" }, `${error}. Is the server still there? Start it again with "moq up", then reload.`)),
    );
  }
}

void start();
