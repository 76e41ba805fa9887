// Package scrape asks relays what they are doing and holds what they said last.
//
// It stands beside the reconciler, not within it: a Scraper goes round the pods
// by itself, each answer has a short deadline and a bounded size, and a pod that
// does not answer costs nobody else anything. The reconciler reads what is held,
// and is woken when something has changed that it decides by, and now and then
// when the load has.
//
// What always holds:
//   - An observation belongs to one pod, by its UID, and says when it was made.
//     After Stale it is no longer given out: what is not known is unknown, and
//     never what it was.
//   - An answer counts only if the relay says that it is the pod that was asked:
//     an address may have gone to another one meanwhile.
//   - It only asks, and tells a pod to drain. It writes nothing to Kubernetes.
package scrape
