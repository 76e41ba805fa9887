// Package monitoring holds the Grafana dashboard of the chart, and holds it and
// the alert rules to what relays and the operator really export: every query
// parses, names only metrics and labels that exist, and returns data on samples
// of a real run; every alert fires and resolves.
//
// The dashboard is made here, because JSON of this size is written by nobody:
// `go test -update` writes charts/moq-operator/files/dashboard.json. It is a
// module of its own, as the tests evaluate queries with Prometheus itself, which
// the product does not depend on. `go mod tidy` does not work in it where the
// module proxy lacks test dependencies of Prometheus; `go get` does.
package monitoring
