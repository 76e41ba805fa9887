package relaycluster

import (
	"fmt"
	"time"

	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// propagation is how long a stored certificate may take to be served: a machine
// brings a Secret to its pods within two minutes, and a relay looks every few
// seconds.
const propagation = 3 * time.Minute

// notYetServed says which ready node serves another certificate than the one
// that was stored long enough ago, "" if none is known to.
func (s *scope) notYetServed() string {
	for _, set := range s.sets {
		leaf := s.leaf(set)
		if why := s.behind(set, leaf.Fingerprint(), pki.IssuedAt(leaf), func(is said) int { return 0 }); why != "" {
			return why
		}
		if s.public == nil {
			continue
		}
		if why := s.behind(set, s.public.Fingerprint, s.publicStored, func(is said) int { return len(is.Certificates) - 1 }); why != "" {
			return why
		}
	}
	return ""
}

// behind says which ready node of a set serves something else at a place of its
// certificates, "" if none is known to or it is early yet.
func (s *scope) behind(set resources.Set, want string, stored time.Time, at func(said) int) string {
	for _, pod := range s.readyPods(set) {
		is := s.said[pod.UID]
		if !is.known() || is.Draining || is.Serves(at(is)) == want {
			continue
		}
		if wait := stored.Add(propagation).Sub(s.now); wait > 0 {
			s.lookAgain(wait)
			continue
		}
		return fmt.Sprintf("%s serves the certificate %.16s… and not %.16s…, which is stored since %s: see the events of the pod, and delete it if they do not help",
			pod.Name, is.Serves(at(is)), want, stored.UTC().Format(time.DateTime))
	}
	return ""
}
