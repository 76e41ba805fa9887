package spelling

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"tls-cert", "tls-key", "tls-root", "bind", "cluster-node"}
	for word, want := range map[string]string{
		"tls-crt":     "tls-cert",
		"tls-certs":   "tls-cert",
		"binds":       "bind",
		"clusternode": "cluster-node",
		"cluster":     "cluster-node", // the start of a name
		"":            "",
		"port":        "",
		"verbosity":   "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
