// The address carries the state: what is shown, from where, and what is
// published. Reloading a page, or sending its address, shows the same again.

export type Route =
  | { view: "home"; at: string | null }
  | { view: "watch"; name: string; at: string | null }
  | { view: "publish"; name: string | null; at: string | null; source: string | null };

/** Where the page is mounted, with a slash at its end. */
export const base = new URL(document.baseURI).pathname;

/** Reads an address. Unknown ones are the home page. */
export function parse(address: URL): Route {
  const path = address.pathname.startsWith(base) ? address.pathname.slice(base.length) : "";
  const at = address.searchParams.get("at");
  const [view, ...rest] = path.split("/");
  const name = rest.map(decode).filter((part) => part !== "").join("/");
  if (view === "watch" && name !== "") return { view: "watch", name, at };
  if (view === "publish") {
    return { view: "publish", at, name: address.searchParams.get("name"), source: address.searchParams.get("source") };
  }
  return { view: "home", at };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Writes an address. */
export function href(route: Route): string {
  const query = new URLSearchParams();
  if (route.at) query.set("at", route.at);
  let path = base;
  if (route.view === "watch") path += `watch/${route.name.split("/").map(encodeURIComponent).join("/")}`;
  if (route.view === "publish") {
    path += "publish";
    if (route.name) query.set("name", route.name);
    if (route.source) query.set("source", route.source);
  }
  return query.size > 0 ? `${path}?${query}` : path;
}

/** Changes the address without showing anything else. */
export function note(route: Route): void {
  history.replaceState(null, "", href(route));
}

/** Leads to another view. */
export function go(route: Route): void {
  history.pushState(null, "", href(route));
  dispatchEvent(new PopStateEvent("popstate"));
}
