// Package resources turns the spec of a RelayCluster into the objects that run
// it, a file per kind of object, and into the configuration of each relay. It
// stands between api/v1alpha1, which it reads, and controllers/relaycluster,
// which applies what it returns; relay/config is the one thing it knows of the
// relay. `moq up` calls the same functions to run a cluster as processes.
//
// What always holds:
//   - The same input gives the same objects: no client, clock or randomness. An
//     upgrade of the operator that changes a pod template restarts every relay;
//     the golden files under testdata show when one would.
//   - Root and regions are both a Set, built by the same functions.
//   - The command line of a relay is config.Config.Args of RelayConfig, and
//     parses back to it.
//   - Objects are complete apply configurations, but for the replicas of a
//     StatefulSet: these are set through its scale subresource, because dropping
//     them from an applied object would reset them to 1.
package resources
