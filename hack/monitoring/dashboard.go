package monitoring

// New returns the dashboard.
func New() Dashboard {
	return Dashboard{
		UID:           "moqrelay",
		Title:         "moqrelay",
		Description:   "Relay clusters and their operator. https://github.com/moqrelay/moqrelay/blob/main/docs/monitoring.md",
		Tags:          []string{"moq", "moqrelay"},
		SchemaVersion: 39,
		Editable:      true,
		GraphTooltip:  1,
		Refresh:       "30s",
		Time:          timeRange{"now-1h", "now"},
		Templating:    templating{variables()},
		Panels:        lay([]row{well(), audience(), quality(), mesh(), quicRow(), resources(), operator()}),
	}
}

func variables() []variable {
	choice := func(name, query string) variable {
		return variable{
			Name: name, Label: name, Type: "query", Query: query, Datasource: source,
			Refresh: 2, Sort: 1, IncludeAll: true, AllValue: ".*", Multi: true,
			Current: map[string]any{"text": "All", "value": "$__all"},
		}
	}
	return []variable{
		{Name: "datasource", Label: "datasource", Type: "datasource", Query: "prometheus"},
		choice("namespace", `label_values(moq_relay_build_info, namespace)`),
		choice("cluster", `label_values(moq_relay_build_info{namespace=~"$namespace"}, cluster)`),
		choice("region", `label_values(moq_relay_build_info{namespace=~"$namespace",cluster=~"$cluster"}, region)`),
		choice("pod", `label_values(moq_relay_build_info{namespace=~"$namespace",cluster=~"$cluster",region=~"$region"}, pod)`),
	}
}

// dropRatio is the share of groups that subscribers did not get.
const dropRatio = `sum(rate(moq_relay_groups_dropped_total{$relay}[$__rate_interval])) / ` +
	`(sum(rate(moq_relay_egress_groups_total{$relay}[$__rate_interval])) + sum(rate(moq_relay_groups_dropped_total{$relay}[$__rate_interval])))`

func well() row {
	return row{"Well?", []Panel{
		stat("Relays that answer", "Relays whose metrics Prometheus could read.", "none", -1,
			query{`sum(up{job="moq-relay",$relay})`, ""}),
		stat("Relays without root", "Relays with no link to any root: media flows, but new broadcasts are not found.", "none", 1,
			query{`sum(max by (namespace, cluster, region, pod) (moq_relay_root_connected{$relay}) == bool 0)`, ""}),
		stat("Sessions", "Sessions of publishers and viewers.", "none", 0,
			query{`sum(moq_relay_sessions{peer="client",$relay})`, ""}),
		stat("Egress", "Payload sent to clients.", "bps", 0,
			query{`8 * sum(rate(moq_relay_egress_bytes_total{peer="client",$relay}[$__rate_interval]))`, ""}),
		stat("Join, p95", "Time from a SUBSCRIBE to its first frame. The goal is at most 1 s.", "s", 1,
			query{`histogram_quantile(0.95, sum by (le) (rate(moq_relay_join_seconds_bucket{$relay}[$__rate_interval])))`, ""}),
		stat("Groups dropped", "Share of groups that subscribers did not get, or not to their end. The goal is at most 0.1 %.", "percentunit", 0.001,
			query{dropRatio, ""}),
	}}
}

func audience() row {
	return row{"Audience", []Panel{
		graph("Sessions by region", "Sessions of publishers and viewers.", "none",
			query{`sum by (cluster, region) (moq_relay_sessions{peer="client",$relay})`, "{{cluster}} {{region}}"}),
		graph("Sessions by protocol", "Sessions of publishers and viewers.", "none",
			query{`sum by (protocol, transport) (moq_relay_sessions{peer="client",$relay})`, "{{protocol}} over {{transport}}"}),
		graph("Subscriptions", "Down to subscribers, and up to publishers or other nodes.", "none",
			query{`sum by (side) (moq_relay_subscriptions{$relay})`, "{{side}}"}),
		graph("Sessions opened", "Per second, peers among them.", "ops",
			query{`sum by (peer) (rate(moq_relay_sessions_opened_total{$relay}[$__rate_interval]))`, "{{peer}}"}),
		graph("Sessions closed", "Per second, by what ended them.", "ops",
			query{`sum by (reason) (rate(moq_relay_sessions_closed_total{$relay}[$__rate_interval]))`, "{{reason}}"}),
		graph("Sessions refused", "Per second, by what was missing.", "ops",
			query{`sum by (reason) (rate(moq_relay_sessions_refused_total{$relay}[$__rate_interval]))`, "{{reason}}"}),
	}}
}

func quality() row {
	return row{"Quality", []Panel{
		heatmap("Join", "Time from a SUBSCRIBE to its first frame.", `moq_relay_join_seconds_bucket{$relay}`),
		heatmap("Age of frames", "Time that live frames stay in a relay.", `moq_relay_group_age_seconds_bucket{$relay}`),
		graph("Age of frames, p99", "Time that live frames stay in a relay. The goal is at most 300 ms.", "s",
			query{`histogram_quantile(0.99, sum by (le, cluster, region) (rate(moq_relay_group_age_seconds_bucket{$relay}[$__rate_interval])))`, "{{cluster}} {{region}}"}),
		graph("Groups dropped", "Per second, by reason: slow_subscriber and stale are subscribers that cannot keep up, memory is the relay.", "ops",
			query{`sum by (reason) (rate(moq_relay_groups_dropped_total{$relay}[$__rate_interval]))`, "{{reason}}"}),
		graph("Subscriptions failed", "Per second, by reason.", "ops",
			query{`sum by (reason) (rate(moq_relay_subscribe_errors_total{$relay}[$__rate_interval]))`, "{{reason}}"}),
		graph("Answers of publishers, p95", "Time from a SUBSCRIBE that a relay sends to its answer.", "s",
			query{`histogram_quantile(0.95, sum by (le, cluster, region) (rate(moq_relay_subscribe_seconds_bucket{$relay}[$__rate_interval])))`, "{{cluster}} {{region}}"}),
	}}
}

func mesh() row {
	return row{"Mesh", []Panel{
		graph("Links to a root", "1 where a relay has a link to that root.", "none",
			query{`max by (pod, root) (moq_relay_root_connected{$relay})`, "{{pod}} to {{root}}"}),
		graph("Peers", "Nodes that each relay knows, with a link and without.", "none",
			query{`sum by (pod, state) (moq_relay_peers{$relay})`, "{{pod}} {{state}}"}),
		graph("Failed dials", "Per second, of other nodes.", "ops",
			query{`sum by (pod) (rate(moq_relay_peer_dials_total{result="failed",$relay}[$__rate_interval]))`, "{{pod}}"}),
		graph("From node to node", "Payload sent to other relays.", "bps",
			query{`8 * sum by (cluster, region) (rate(moq_relay_egress_bytes_total{peer="node",$relay}[$__rate_interval]))`, "{{cluster}} {{region}}"}),
		graph("Fan-out", "Bytes that go to clients for each byte that comes in.", "none",
			query{`sum by (cluster, region) (rate(moq_relay_egress_bytes_total{peer="client",$relay}[$__rate_interval])) / ` +
				`sum by (cluster, region) (rate(moq_relay_ingress_bytes_total{$relay}[$__rate_interval]))`, "{{cluster}} {{region}}"}),
		graph("Broadcasts", "Announced by clients of the relays of a region.", "none",
			query{`sum by (cluster, region) (moq_relay_broadcasts{source="local",$relay})`, "{{cluster}} {{region}}"}),
	}}
}

func quicRow() row {
	return row{"QUIC", []Panel{
		heatmap("Round trip of clients", "Smoothed, of each session, every 10 s.", `moq_relay_quic_rtt_seconds_bucket{peer="client",$relay}`),
		graph("Packets lost", "Share of the packets sent.", "percentunit",
			query{`sum by (peer) (rate(moq_relay_quic_packets_lost_total{$relay}[$__rate_interval])) / ` +
				`sum by (peer) (rate(moq_relay_quic_packets_sent_total{$relay}[$__rate_interval]))`, "{{peer}}"}),
		graph("Handshake, p95", "Time from a connection's first stream to the end of the session's handshake.", "s",
			query{`histogram_quantile(0.95, sum by (le, transport) (rate(moq_relay_handshake_seconds_bucket{$relay}[$__rate_interval])))`, "{{transport}}"}),
	}}
}

func resources() row {
	return row{"Resources", []Panel{
		graph("CPU per Gb/s", "Cores that a relay takes for each Gb/s that it sends.", "none",
			query{`sum by (pod) (rate(process_cpu_seconds_total{job="moq-relay",$relay}[$__rate_interval])) / ` +
				`(sum by (pod) (rate(moq_relay_egress_bytes_total{$relay}[$__rate_interval])) * 8 / 1e9)`, "{{pod}}"}),
		graph("CPU", "Cores.", "none",
			query{`sum by (pod) (rate(process_cpu_seconds_total{job="moq-relay",$relay}[$__rate_interval]))`, "{{pod}}"}),
		graph("Memory", "Resident, and the cache's share of its budget is beside it.", "bytes",
			query{`sum by (pod) (process_resident_memory_bytes{job="moq-relay",$relay})`, "{{pod}}"}),
		graph("Cache against its budget", "Cached frames, as a share of what they may take.", "percentunit",
			query{`sum by (pod) (moq_relay_cache_bytes{$relay}) / sum by (pod) (moq_relay_memory_budget_bytes{$relay})`, "{{pod}}"}),
		graph("Cache hits", "Share of subscriptions and fetches whose first group was cached.", "percentunit",
			query{`sum by (cluster, region) (rate(moq_relay_cache_requests_total{result="hit",$relay}[$__rate_interval])) / ` +
				`sum by (cluster, region) (rate(moq_relay_cache_requests_total{$relay}[$__rate_interval]))`, "{{cluster}} {{region}}"}),
		graph("Pauses for garbage, longest", "Of the Go runtime.", "s",
			query{`max by (pod) (go_gc_duration_seconds{quantile=~"1|1[.]0",job="moq-relay",$relay})`, "{{pod}}"}),
	}}
}

func operator() row {
	return row{"Operator", []Panel{
		list("Conditions", "Of each RelayCluster, as the operator saw it last.", "none",
			query{`moq_operator_condition{$operator} == 1`, ""},
			"Value", "__name__", "container", "endpoint", "instance", "job", "pod"),
		graph("Nodes by state", "As the operator sees them.", "none",
			query{`sum by (state) (moq_operator_nodes)`, "{{state}}"}),
		graph("Certificates end in", "The first to end, of those that the operator looks after.", "s",
			query{`min by (namespace, name) (moq_operator_certificate_expiry_timestamp_seconds{$operator}) - time()`, "{{namespace}}/{{name}}"}),
		graph("Reconciles", "Per second, by how they ended.", "ops",
			query{`sum by (result) (rate(controller_runtime_reconcile_total{job="moq-operator"}[$__rate_interval]))`, "{{result}}"}),
		graph("Reconcile time, p95", "", "s",
			query{`histogram_quantile(0.95, sum by (le) (rate(controller_runtime_reconcile_time_seconds_bucket{job="moq-operator"}[$__rate_interval])))`, ""}),
		graph("Step of a rollout, p95", "Time from a pod's replacement to its being back in the mesh.", "s",
			query{`histogram_quantile(0.95, sum by (le) (rate(moq_operator_rollout_step_seconds_bucket[$__rate_interval])))`, ""}),
	}}
}
