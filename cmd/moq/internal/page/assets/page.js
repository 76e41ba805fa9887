// Shows each look at the cluster as it arrives. Nothing is computed here that
// the server knows: rates come ready.
const $ = (id) => document.getElementById(id);
const svgNS = "http://www.w3.org/2000/svg";

const make = (tag, attributes = {}, ...children) => {
  const e = document.createElementNS(svgNS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
};

const bits = (n) => {
  if (n === null || n === undefined) return "?";
  if (n >= 1e9) return (n / 1e9).toFixed(2) + " Gb/s";
  if (n >= 1e6) return (n / 1e6).toFixed(1) + " Mb/s";
  if (n >= 1e3) return (n / 1e3).toFixed(0) + " kb/s";
  return n.toFixed(0) + " b/s";
};

const ago = (when, now) => {
  const s = Math.max(0, Math.round((new Date(now) - new Date(when)) / 1000));
  if (s < 60) return s + "s";
  if (s < 3600) return Math.floor(s / 60) + "m" + (s % 60) + "s";
  return Math.floor(s / 3600) + "h" + Math.floor((s % 3600) / 60) + "m";
};

const rows = (id, list, columns, empty) => {
  const body = $(id);
  body.replaceChildren(
    ...list.map((item) => {
      const tr = document.createElement("tr");
      for (const cell of columns(item)) {
        const td = document.createElement("td");
        td.append(cell);
        tr.append(td);
      }
      return tr;
    }),
  );
  if (list.length === 0) {
    const td = document.createElement("td");
    td.colSpan = 9;
    td.className = "empty";
    td.textContent = empty;
    const tr = document.createElement("tr");
    tr.append(td);
    body.append(tr);
  }
};

const mono = (text) => {
  const code = document.createElement("code");
  code.textContent = text;
  return code;
};

const stateWord = (state) => {
  const span = document.createElement("span");
  span.textContent = state;
  if (state !== "up") span.className = "state-bad";
  return span;
};

// place puts the root into the middle, regions on a ring and nodes around the
// centre of their region.
const place = (nodes) => {
  const at = new Map();
  const regions = [...new Set(nodes.filter((n) => n.role !== "root").map((n) => n.region))];
  const roots = nodes.filter((n) => n.role === "root");
  roots.forEach((n, i) => at.set(n.node, { x: (i - (roots.length - 1) / 2) * 70, y: 0 }));
  const centres = regions.map((region, i) => {
    const angle = Math.PI + (2 * Math.PI * i) / regions.length;
    const centre = { region, x: 225 * Math.cos(angle), y: 140 * Math.sin(angle) };
    const members = nodes.filter((n) => n.region === region && n.role !== "root");
    members.forEach((n, j) => {
      const turn = Math.PI / 2 + (2 * Math.PI * j) / members.length;
      const r = members.length > 1 ? 42 : 0;
      at.set(n.node, { x: centre.x + r * 1.1 * Math.cos(turn), y: centre.y + r * Math.sin(turn) });
    });
    return centre;
  });
  return { at, centres };
};

const drawMap = (nodes) => {
  const { at, centres } = place(nodes);
  const svg = $("map");
  svg.replaceChildren();
  const half = Math.max(110, ...centres.map((c) => Math.abs(c.y) + 105));
  svg.setAttribute("viewBox", `-340 ${-half} 680 ${2 * half}`);
  for (const c of centres) {
    svg.append(
      make("ellipse", { class: "region", cx: c.x, cy: c.y, rx: 95, ry: 82 }),
      make("text", { class: "region-name", x: c.x, y: c.y - 88 }, c.region),
    );
  }
  const sent = new Map(nodes.map((n) => [n.node, n.egressBitsPerSecond ?? 0]));
  const drawn = new Set();
  for (const n of nodes) {
    for (const peer of n.info?.peers ?? []) {
      const pair = [n.node, peer.node].sort().join(" ");
      const [a, b] = [at.get(n.node), at.get(peer.node)];
      if (!a || !b || drawn.has(pair)) continue;
      drawn.add(pair);
      const rate = Math.max(sent.get(n.node), sent.get(peer.node));
      const width = 1.2 + Math.min(7, Math.log10(1 + rate / 1e5) * 2.2);
      svg.append(make("line", { class: peer.connected ? "link" : "link lost", x1: a.x, y1: a.y, x2: b.x, y2: b.y, "stroke-width": width.toFixed(1) }));
    }
  }
  for (const n of nodes) {
    const p = at.get(n.node);
    const kind = ["node", n.role === "root" ? "root" : "", n.state === "up" ? "" : "bad"].join(" ");
    svg.append(
      make("g", { class: kind, transform: `translate(${p.x} ${p.y})` },
        make("title", {}, `${n.name}: ${n.state}, ${n.sessions?.length ?? "?"} sessions, sends ${bits(n.egressBitsPerSecond)}`),
        make("circle", { r: 17 }),
        make("text", { class: "count", y: 5 }, String(n.sessions?.length ?? "?")),
        make("text", { class: "sub", y: 33 }, n.state === "up" ? n.name : `${n.name} ${n.state}`)),
    );
  }
};

const drawRates = (nodes) => {
  const svg = $("rates");
  const [width, height, left, top] = [680, 180, 74, 10];
  const peak = Math.max(1e5, ...nodes.flatMap((n) => n.egressSeries ?? []));
  const y = (v) => top + (height - top - 20) * (1 - v / peak);
  const x = (i, length) => left + ((width - left - 6) * (300 - length + i)) / 300;
  svg.replaceChildren();
  for (const part of [0, 0.5, 1]) {
    svg.append(
      make("line", { class: "axis", x1: left, x2: width, y1: y(peak * part), y2: y(peak * part) }),
      make("text", { class: "axis-label", x: 0, y: y(peak * part) + 4 }, bits(peak * part)),
    );
  }
  const legend = [];
  nodes.forEach((n, i) => {
    const series = n.egressSeries ?? [];
    const points = series.map((v, j) => `${x(j, series.length).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
    svg.append(make("polyline", { class: `series s${i % 6}`, points }));
    const swatch = document.createElement("span");
    swatch.className = `swatch s${i % 6}`;
    legend.push(swatch, n.name);
  });
  $("rates-legend").replaceChildren(...legend);
};

const certificate = (n) => {
  const c = n.info?.certificates?.[0];
  if (!c) return "?";
  return `${Math.floor((new Date(c.notAfter) - Date.now()) / 86400e3)} days left`;
};

const show = (state) => {
  const up = state.nodes.filter((n) => n.state === "up").length;
  const names = new Map(state.nodes.map((n) => [n.node, n.name]));
  const sessions = state.nodes.flatMap((n) => (n.sessions ?? []).map((s) => ({ ...s, at: n.name })));
  const viewers = sessions.filter((s) => s.peer === "").length;
  document.title = `${state.cluster} · moqrelay`;
  $("cluster").textContent = state.cluster;
  $("summary").textContent = `${up} of ${state.nodes.length} nodes up · ${state.broadcasts.length} tracks · ${viewers} clients`;
  drawMap(state.nodes);
  drawRates(state.nodes);
  rows("nodes", state.nodes, (n) => [
    n.name, n.region || "–", stateWord(n.state),
    n.info ? `${n.info.peers.filter((p) => p.connected).length} of ${n.info.peers.length}` : "?",
    String(n.sessions?.length ?? "?"), bits(n.ingressBitsPerSecond), bits(n.egressBitsPerSecond), certificate(n), mono(n.url),
  ], "no nodes");
  rows("broadcasts", state.broadcasts, (b) => [mono(b.broadcast), b.source || "?", b.knownAt.join(", ")],
    "nothing is published: try the publish command that the terminal shows");
  rows("sessions", sessions, (s) => [
    s.at, mono(s.session), s.peer ? (names.get(s.peer) ?? s.peer) : s.remote, `${s.protocol || "–"} over ${s.transport}`,
    String(s.subscriptions), String(s.publishes), s.rttSeconds === null ? "?" : (s.rttSeconds * 1000).toFixed(1) + " ms", ago(s.since, state.at),
  ], "no sessions");
};

const events = new EventSource("events");
events.onmessage = (e) => show(JSON.parse(e.data));
events.onerror = () => {
  $("summary").textContent = "the cluster does not answer: is it still running?";
};
