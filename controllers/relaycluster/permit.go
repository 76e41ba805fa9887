package relaycluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// permit refuses names that the operator was told not to take. Who may make a
// RelayCluster would else get certificates and DNS records for any name, with
// the rights of those who make them.
func (r *Reconciler) permit(s *scope) error {
	if len(r.AllowedHostnameSuffixes) == 0 {
		return nil
	}
	for _, set := range s.sets {
		for _, name := range namesOf(set) {
			if !slices.ContainsFunc(r.AllowedHostnameSuffixes, func(suffix string) bool { return isUnder(name, suffix) }) {
				return &problem{
					Reason: v1alpha1.ReasonHostnameNotAllowed,
					Message: fmt.Sprintf("exposure of %s: %s is not under %s: choose a name that is, or have the operator started with another --allowed-hostname-suffixes",
						set.Key(), name, strings.Join(r.AllowedHostnameSuffixes, ", ")),
				}
			}
		}
	}
	return nil
}

// namesOf returns the names that a set asks for.
func namesOf(set resources.Set) []string {
	names := slices.Clone(set.Exposure.Hostnames)
	if name := set.PodHostname(0); name != "" {
		names = append(names, name)
	}
	return names
}

// isUnder reports whether a name is a domain or below it.
func isUnder(name, domain string) bool {
	domain = strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain != "" && (name == domain || strings.HasSuffix(name, "."+domain))
}
