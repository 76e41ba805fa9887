package resources_test

import (
	"crypto/x509"
	"encoding/json"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/controllers/resources"
)

// What is asked for passes the check that what is issued has to pass.
func TestCertificateIsGoodForEveryHostname(t *testing.T) {
	c := decode(t, "testdata/tls-issuer/input.yaml")
	raw, err := json.Marshal(resources.Certificate(c))
	if err != nil {
		t.Fatal(err)
	}
	var asked struct {
		Spec struct {
			DNSNames    []string `json:"dnsNames"`
			IPAddresses []string `json:"ipAddresses"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &asked); err != nil {
		t.Fatal(err)
	}
	issued := &x509.Certificate{DNSNames: asked.Spec.DNSNames}
	for _, address := range asked.Spec.IPAddresses {
		issued.IPAddresses = append(issued.IPAddresses, net.ParseIP(address))
	}
	names := resources.Hostnames(c)
	if want := []string{"192.0.2.7", "any.eu.example.com", "eu.example.com", "live.example.com", "us.example.com"}; !slices.Equal(names, want) {
		t.Errorf("hostnames %q, want %q", names, want)
	}
	for _, name := range append(names, "live-eu-7.eu.example.com") {
		if err := issued.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if issued.VerifyHostname("live-asia-0.asia.example.com") == nil {
		t.Error("it has the names by which nodes dial each other")
	}
}

func TestNoCertificateWithoutIssuer(t *testing.T) {
	for _, name := range []string{"minimal", "tls-secret"} {
		if got := resources.Certificate(decode(t, "testdata/"+name+"/input.yaml")); got != nil {
			t.Errorf("%s: it asks for %s", name, *got.GetName())
		}
	}
}

// An apply reads the API server's answer into what was applied, and of this one
// the status is wanted.
func TestCertificateTakesAnswerWhole(t *testing.T) {
	c := resources.Certificate(decode(t, "testdata/tls-issuer/input.yaml"))
	answer := `{"apiVersion":"cert-manager.io/v1","kind":"Certificate","metadata":{"name":"a","namespace":"b","uid":"c"},"status":{"revision":1}}`
	if err := json.Unmarshal([]byte(answer), c); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answer, string(got)); diff != "" {
		t.Error(diff)
	}
	if *c.GetAPIVersion() != "cert-manager.io/v1" || *c.GetKind() != "Certificate" || *c.GetName() != "a" || *c.GetNamespace() != "b" {
		t.Errorf("it is %s %s %s/%s", *c.GetAPIVersion(), *c.GetKind(), *c.GetNamespace(), *c.GetName())
	}
	if err := json.Unmarshal([]byte(`{}`), c); err != nil || c.GetName() != nil {
		t.Errorf("an empty answer leaves %v, %v", c, err)
	}
}
