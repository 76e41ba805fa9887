package relaycluster

import (
	"errors"
	"testing"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// S30: nobody gets a name that the operator may not give.
func TestS30Hostnames(t *testing.T) {
	suffixes := []string{"example.com", ".live.example.org"}
	for _, test := range []struct {
		name, reason string
		suffixes     []string
		exposure     v1alpha1.Exposure
		want         bool
	}{
		{"no suffixes", "the operator was told nothing", nil, v1alpha1.Exposure{Hostnames: []string{"bank.test"}}, true},
		{"no names", "there is nothing to refuse", suffixes, v1alpha1.Exposure{}, true},
		{"below", "a dot ends the label before", suffixes, v1alpha1.Exposure{Hostnames: []string{"eu.example.com"}}, true},
		{"the domain itself", "it is the same owner's", suffixes, v1alpha1.Exposure{Hostnames: []string{"live.example.org"}}, true},
		{"a name that ends alike", "it is another owner's", suffixes, v1alpha1.Exposure{Hostnames: []string{"evilexample.com"}}, false},
		{"one of several", "each is looked at", suffixes, v1alpha1.Exposure{Hostnames: []string{"eu.example.com", "bank.test"}}, false},
		{"above", "it holds more than is allowed", suffixes, v1alpha1.Exposure{Hostnames: []string{"example.org"}}, false},
		{"names of pods", "they are names too", suffixes, v1alpha1.Exposure{PodHostname: "{pod}.eu.bank.test"}, false},
		{"names of pods below", "as other names", suffixes, v1alpha1.Exposure{PodHostname: "{pod}.eu.example.com"}, true},
		{"an empty suffix", "a trailing comma allows nothing", []string{""}, v1alpha1.Exposure{Hostnames: []string{"eu.example.com"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &v1alpha1.RelayCluster{}
			c.Name = "live"
			c.Spec.Regions = []v1alpha1.Region{{Name: "eu", Exposure: test.exposure}}
			s := &scope{cluster: c, sets: resources.Sets(c)}
			err := (&Reconciler{AllowedHostnameSuffixes: test.suffixes}).permit(s)
			p, refused := errors.AsType[*problem](err)
			if refused == test.want || refused && p.Reason != v1alpha1.ReasonHostnameNotAllowed {
				t.Errorf("got %v, want it to be allowed: %v, because %s", err, test.want, test.reason)
			}
		})
	}
}
