// Package pki is the certificates of a cluster: what there should be, when each
// is replaced, and how it is made. It plans and makes and does no I/O: callers
// read what is stored, give the time, and store what comes back. It is used by
// the operator, which stores Secrets, and by `moq up`, which stores files.
//
// A cluster has an Authority, and a certificate for the root and for each region
// that it has signed: a leaf. A leaf serves all nodes of its set, is for server
// and client alike, and is short-lived and of ECDSA P-256, so that browsers can
// pin its fingerprint.
//
// What always holds:
//   - Plan says one step at a time, and the same for the same state and time.
//     Ensure takes steps until none is left; state that is stored after any of
//     them is a state that Plan goes on from.
//   - An authority of the operator's own is replaced in two phases. The next one
//     is trusted by all before it signs anything, and the previous one is trusted
//     until nothing that it signed is served. Where nodes can be asked, each
//     phase ends when every one of them says so, and never before; where they
//     cannot, time tells. An authority of the user's is never touched; that it
//     took the place of another is treated alike.
//   - Private keys are in the PEM that callers store and nowhere else: no error
//     and no reason holds one.
package pki
