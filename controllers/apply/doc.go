// Package apply is the only writer of the objects that belong to a RelayCluster.
// It applies them whole, on the server's side and under one field manager: what
// the operator sets comes back when somebody changes it, what others add stays,
// and what is no longer wanted is deleted.
//
// The number of pods of a StatefulSet is the exception. It may belong to an
// autoscaler, so it is given once, when the set is made, and afterwards changed
// through the scale subresource under a manager of its own; an apply never
// carries it. A field that its only manager stops applying falls back to its
// default, here one pod, so a new set's count is handed over to that second
// manager before the first apply without it.
//
// An object of the wanted name that belongs to somebody else is never touched.
package apply
