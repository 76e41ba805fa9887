package relaycluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// permit refuses what the operator was told not to ask for. Who may make a
// RelayCluster would else get certificates and DNS records for any name, with
// the rights of those who make them.
func (r *Reconciler) permit(s *scope) error {
	if err := r.permitNames(s); err != nil {
		return err
	}
	return r.permitIssuer(s)
}

func (r *Reconciler) permitNames(s *scope) error {
	if len(r.AllowedHostnameSuffixes) == 0 {
		return nil
	}
	for _, set := range s.sets {
		for _, name := range namesOf(set) {
			if !slices.ContainsFunc(r.AllowedHostnameSuffixes, func(suffix string) bool { return isUnder(name, suffix) }) {
				return &problem{
					Reason: v1alpha1.ReasonHostnameNotAllowed,
					Message: fmt.Sprintf("%s asks for the name %s, which is not under %s: choose a name that is, or have the operator started with another --allowed-hostname-suffixes",
						set.Key(), name, strings.Join(r.AllowedHostnameSuffixes, ", ")),
				}
			}
		}
	}
	return nil
}

// permitIssuer refuses issuers of kinds that the operator was not told to take.
// One for the whole Kubernetes cluster signs for every namespace, and asking it
// is not for everybody who may make a RelayCluster.
func (r *Reconciler) permitIssuer(s *scope) error {
	if !s.isIssued() {
		return nil
	}
	issuer := s.cluster.Spec.TLS.Public.IssuerRef
	kind := issuer.Kind
	if issuer.Group != v1alpha1.GroupCertManager {
		kind += "." + issuer.Group
	}
	if slices.Contains(r.AllowedIssuerKinds, kind) {
		return nil
	}
	return &problem{
		Reason: v1alpha1.ReasonIssuerNotAllowed,
		Message: fmt.Sprintf("%s: the operator asks no %s: name an issuer of another kind, it asks %s, or have the operator started with another --allowed-issuer-kinds",
			fieldIssuerRef, kind, cmp.Or(strings.Join(r.AllowedIssuerKinds, ", "), "none")),
	}
}

// namesOf returns the names that a set asks for, of the operator or of
// external-dns.
func namesOf(set resources.Set) []string {
	names := slices.Clone(set.Exposure.Hostnames)
	if name := set.PodHostname(0); name != "" {
		names = append(names, name)
	}
	for _, annotations := range []map[string]string{set.Exposure.Annotations, set.Pod.Annotations} {
		for _, key := range resources.NamingAnnotations() {
			names = append(names, namesIn(annotations[key])...)
		}
	}
	return names
}

// namesIn returns the names in an annotation, read as external-dns does.
func namesIn(annotation string) []string {
	var names []string
	for name := range strings.SplitSeq(strings.ReplaceAll(annotation, " ", ""), ",") {
		if name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), "."); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// isUnder reports whether a name is a domain or below it.
func isUnder(name, domain string) bool {
	domain = strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain != "" && (name == domain || strings.HasSuffix(name, "."+domain))
}
