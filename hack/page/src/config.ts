// What the server says about the cluster.

export interface RelayNode {
  /** As people call it, e.g. eu-0. */
  name: string;
  region: string;
  /** root or node; a root serves when there is nothing else. */
  role: string;
  /** Where clients reach it; http: has the browser pin the certificate that the relay names. */
  url: string;
}

export interface Config {
  cluster: string;
  /** The command line client, as it is called there. */
  cli: string;
  /** The status page, relative to this one; empty if there is none. */
  status: string;
  nodes: RelayNode[];
}

/** Asks the server. The nodes that serve clients come first. */
export async function load(): Promise<Config> {
  const response = await fetch(new URL("config.json", document.baseURI));
  if (!response.ok) throw new Error(`config.json: ${response.status}`);
  const config = (await response.json()) as Config;
  const serving = config.nodes.filter((n) => n.role !== "root");
  if (serving.length > 0) config.nodes = serving;
  return config;
}

/** Finds the node of that name, or one in a region that differs from the other's. */
export function pick(config: Config, name: string | null, elsewhereThan?: string): RelayNode | undefined {
  const named = config.nodes.find((n) => n.name === name);
  if (named) return named;
  const other = config.nodes.find((n) => n.name === elsewhereThan);
  return config.nodes.find((n) => other !== undefined && n.region !== other.region) ?? config.nodes[0];
}

/** Says where a node is: its region, and its name where that says more. */
export function place(n: RelayNode): string {
  return n.region && !n.name.startsWith(n.region) ? `${n.name} in ${n.region}` : n.name;
}
