// Small helpers to make elements. Everything is light DOM, styled by style.css.

type Child = Node | string | null | undefined | false;

/** Makes an element. A property whose name starts with "on" is a listener. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, unknown> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

const icons = {
  play: "M8 5.1v13.8L19 12z",
  pause: "M7 5h3.6v14H7zM13.4 5H17v14h-3.6z",
  sound: "M4 9.2v5.6h3.6L12 19V5L7.6 9.2zM14.5 8.2v7.6a4.4 4.4 0 0 0 0-7.6zM14.5 4.3v2.1a6 6 0 0 1 0 11.2v2.1a8 8 0 0 0 0-15.4z",
  muted: "M4 9.2v5.6h3.6L12 19V5L7.6 9.2zM20.6 9.4 19.2 8l-2.3 2.4L14.5 8l-1.3 1.4 2.4 2.6-2.4 2.5 1.3 1.5 2.4-2.5 2.3 2.5 1.4-1.5-2.3-2.5z",
  full: "M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z",
  card: "M3 5h18v14H3zm2 2v7h2V7zm4 0v7h2V7zm4 0v7h2V7zm4 0v7h2V7zM5 16v1.5h14V16z",
  camera: "M4 7h4l1.6-2h4.8L16 7h4v12H4zm8 9.6a3.8 3.8 0 1 0 0-7.6 3.8 3.8 0 0 0 0 7.6z",
  screen: "M3 4h18v13H3zm2 2v9h14V6zM8 19h8v1.8H8z",
  copy: "M8 3h12v14h-3v4H4V7h4zm2 4h7v8h1V5h-8zM6 9v10h9V9z",
  live: "M12 9.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6zM7.2 7.2l1.4 1.4a4.8 4.8 0 0 0 0 6.8l-1.4 1.4a6.8 6.8 0 0 1 0-9.6zm9.6 0a6.8 6.8 0 0 1 0 9.6l-1.4-1.4a4.8 4.8 0 0 0 0-6.8zM4.3 4.3l1.5 1.5a8.8 8.8 0 0 0 0 12.4l-1.5 1.5a10.9 10.9 0 0 1 0-15.4zm15.4 0a10.9 10.9 0 0 1 0 15.4l-1.5-1.5a8.8 8.8 0 0 0 0-12.4z",
} as const;

export type Icon = keyof typeof icons;

/** Makes a picture that says nothing to those who cannot see it. */
export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", icons[name]);
  path.setAttribute("fill", "currentColor");
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/** Sets the text of an element if it differs, so that nothing is read out twice. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Writes bits per second as people read them. */
export function rate(bits: number): string {
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(1)} Mb/s`;
  if (bits >= 1e3) return `${(bits / 1e3).toFixed(0)} kb/s`;
  return `${bits.toFixed(0)} b/s`;
}

/** Writes a span of time as people read it. */
export function span(milliseconds: number): string {
  const s = Math.max(0, Math.round(milliseconds / 1000));
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}
