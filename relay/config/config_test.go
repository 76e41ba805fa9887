package config

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func noEnv(string) (string, bool) { return "", false }

func env(m map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

func TestArgsParseBack(t *testing.T) {
	full := Config{
		Bind: "127.0.0.1:4443", PrivateBind: "[::]:9090",
		TLSCert: []string{"a.crt", "b, with comma.crt"}, TLSKey: []string{"a.key", "b.key"}, TLSRoot: []string{"ca.crt"},
		TLSDisableVerify: true, TLSSelfSign: []string{"localhost"},
		ClusterRoot: []string{"root-0:4443", "root-1:4443"}, ClusterNode: "$(POD_NAME).eu:4443", ClusterOpen: true, Region: "eu",
		Dev: true, Verbose: 2, Quiet: 1, LogFormat: "json",
		QlogDir: "/var/log/q log", QlogSample: 0.015, QlogMax: 3 << 20,
		IdleTimeout: 11 * time.Second, KeepAlive: 3 * time.Second, HandshakeTimeout: time.Second, DrainTimeout: time.Minute,
		SubscriptionLinger: time.Millisecond, AnnounceLinger: 7 * time.Second, CacheRetention: 0,
		MemoryLimit: 512 << 20, QueueLimit: 1000, MaxFrameSize: 3 << 10, MaxGroupSize: 5e9,
		MaxSessions: 1, MaxStreams: 2, MaxPaths: 3, MaxSubscriptions: 4, MaxInterests: 5, MaxControlRate: 6,
	}
	for name, want := range map[string]Config{"default": Default(), "everything": full} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(want.Args(), noEnv)
			if err != nil {
				t.Fatal(err)
			}
			normalise(&got)
			normalise(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Parse(c.Args()) differs from c (-want +got):\n%s", diff)
			}
		})
	}
	if args := Default().Args(); len(args) != 0 {
		t.Errorf("Default().Args() = %q, want none", args)
	}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		if v.Field(i).IsZero() && v.Type().Field(i).Name != "CacheRetention" {
			t.Errorf("field %s is not covered by this test", v.Type().Field(i).Name)
		}
	}
}

// normalise makes an empty list nil, which is how Default has it.
func normalise(c *Config) {
	for _, list := range []*[]string{&c.TLSCert, &c.TLSKey, &c.TLSRoot, &c.TLSSelfSign, &c.ClusterRoot} {
		if len(*list) == 0 {
			*list = nil
		}
	}
}

// TestU20FlagsOf068 holds every flag of moq-relay 0.6.8 to its name.
func TestU20FlagsOf068(t *testing.T) {
	args := strings.Fields("--bind [::]:4443 --tls-cert a --tls-key b --tls-cert c --tls-key d --tls-root e --tls-disable-verify " +
		"--cluster-root r:1 --cluster-node n:2 --dev -vv")
	c, err := Parse(args, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Bind, want.TLSCert, want.TLSKey, want.TLSRoot = "[::]:4443", []string{"a", "c"}, []string{"b", "d"}, []string{"e"}
	want.TLSDisableVerify, want.ClusterRoot, want.ClusterNode, want.Dev, want.Verbose = true, []string{"r:1"}, "n:2", true, 2
	normalise(&c)
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c, err := Parse([]string{"-qq"}, noEnv); err != nil || c.Quiet != 2 {
		t.Errorf("-qq: quiet %d, error %v", c.Quiet, err)
	}
	if _, err := Parse([]string{"--help"}, noEnv); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	vars := env(map[string]string{
		"MOQ_BIND":         "127.0.0.1:1",
		"MOQ_CLUSTER_ROOT": "a:1,b:2",
		"MOQ_REGION":       "from-env",
		"MOQ_MEMORY_LIMIT": "64MiB",
		"MOQ_VERBOSE":      "1",
		"MOQ_TLS_ROOT":     "",
	})
	c, err := Parse([]string{"--region", "from-flag"}, vars)
	if err != nil {
		t.Fatal(err)
	}
	if c.Bind != "127.0.0.1:1" || len(c.ClusterRoot) != 2 || c.Region != "from-flag" || c.MemoryLimit != 64<<20 || c.Verbose != 1 || len(c.TLSRoot) != 0 {
		t.Errorf("got %+v", c)
	}
	_, err = Parse(nil, env(map[string]string{"MOQ_MAX_PATHS": "many"}))
	if err == nil || !strings.Contains(err.Error(), "MOQ_MAX_PATHS") {
		t.Errorf("a bad variable: %v, want an error that names it", err)
	}
}

func TestValidate(t *testing.T) {
	good := Default()
	good.TLSSelfSign = []string{"localhost"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"host name in bind":       {func(c *Config) { c.Bind = "localhost:4443" }, "--bind"},
		"private bind":            {func(c *Config) { c.PrivateBind = "9090" }, "--private-bind"},
		"certificate without key": {func(c *Config) { c.TLSCert = []string{"a"} }, "--tls-key"},
		"no certificate":          {func(c *Config) { c.TLSSelfSign = nil }, "--tls-self-sign"},
		"bad root":                {func(c *Config) { c.ClusterRoot = []string{"a:b:c"} }, "--cluster-root"},
		"bad node":                {func(c *Config) { c.ClusterNode = "host:0" }, "--cluster-node"},
		"quiet and verbose":       {func(c *Config) { c.Quiet, c.Verbose = 1, 1 }, "exclude each other"},
		"log format":              {func(c *Config) { c.LogFormat = "xml" }, "--log-format"},
		"more than all":           {func(c *Config) { c.QlogSample = 1.5 }, "--qlog-sample"},
		"no fraction":             {func(c *Config) { c.QlogSample = math.NaN() }, "--qlog-sample"},
		"qlog of nothing":         {func(c *Config) { c.QlogMax = 0 }, "--qlog-max"},
		"keep-alive too long":     {func(c *Config) { c.KeepAlive = c.IdleTimeout }, "--keep-alive"},
		"no sessions":             {func(c *Config) { c.MaxSessions = 0 }, "--max-sessions"},
		"frame above group":       {func(c *Config) { c.MaxFrameSize = c.MaxGroupSize + 1 }, "--max-frame-size"},
		"negative time":           {func(c *Config) { c.CacheRetention = -1 }, "--cache-retention"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestSplitHost(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port uint16
	}{
		"relay":         {"relay", 443},
		"relay:4443":    {"relay", 4443},
		"[::1]:4443":    {"::1", 4443},
		"::1":           {"::1", 443},
		"127.0.0.1":     {"127.0.0.1", 443},
		"127.0.0.1:443": {"127.0.0.1", 443},
	} {
		host, port, err := SplitHost(in)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("SplitHost(%q) = %q, %d, %v; want %q, %d", in, host, port, err, want.host, want.port)
		}
	}
	for _, in := range []string{"", ":443", "a:0", "a:99999", "a:b:c"} {
		if _, _, err := SplitHost(in); err == nil {
			t.Errorf("SplitHost(%q) succeeds", in)
		}
	}
}

func TestIsRoot(t *testing.T) {
	for name, tc := range map[string]struct {
		roots []string
		node  string
		want  bool
	}{
		"alone":              {nil, "", true},
		"named, no root":     {nil, "a", true},
		"its own root":       {[]string{"a", "b"}, "b", true},
		"a node":             {[]string{"a"}, "b", false},
		"a read-only member": {[]string{"a"}, "", false},
	} {
		if got := (Config{ClusterRoot: tc.roots, ClusterNode: tc.node}).IsRoot(); got != tc.want {
			t.Errorf("%s: IsRoot = %v", name, got)
		}
	}
}
