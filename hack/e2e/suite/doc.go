// Package suite proves on a real Kubernetes, with media running the whole time,
// that nothing a viewer notices goes wrong while a RelayCluster changes. It
// stands at the very top: it drives what users drive (helm, kubectl and the moq
// command) against a cluster that `e2e up` made, and looks at what they see.
//
// One story, [TestStory], runs event after event on one RelayCluster: a
// publisher in region eu and watchers in region us, all outside of Kubernetes.
// The windows of two events touch, so that no loss falls between them. What the
// watchers lost and for how long nothing came is a line of a table, which is
// printed at the end and kept in docs/reliability.md (-update writes it).
//
// What always holds: every wait is a poll with a deadline; an event that fails
// is never repeated, and writes down what the cluster, the operator and the
// watchers said. The cluster is used up by the story: start another one for the
// next run.
//
// $E2E_CLUSTER names the file that describes the cluster; without it there is
// nothing to test on, and only the tests of the measuring itself run.
package suite
