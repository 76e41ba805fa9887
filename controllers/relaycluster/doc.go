// Package relaycluster makes RelayClusters true: it watches them and everything
// that belongs to them, and on any change reads all of it, computes the objects
// that there should be, applies them, and writes one status from what it saw.
//
// Reconcile is the table of contents: a scope holds what was read, phases fill in
// what is wanted and write it through controllers/apply, and status.go computes
// conditions last. Decisions are pure functions elsewhere: objects in
// controllers/resources, certificates in controllers/pki, which pod is next in
// controllers/rollout.
//
// What always holds:
//   - Nothing is remembered between runs but in the objects themselves; the
//     status is never read to decide anything.
//   - There is no finalizer: every object has its RelayCluster for an owner and
//     goes with it, whether the operator runs or not.
//   - A user's mistake becomes a condition that says the remedy.
//   - No key leaves its Secret: not into status, events or logs.
package relaycluster
