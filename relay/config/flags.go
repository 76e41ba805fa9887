package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Register adds every flag to fs; the values in c are the defaults, and
// parsing writes into c.
func (c *Config) Register(fs *pflag.FlagSet) {
	fs.StringVar(&c.Bind, "bind", c.Bind, "UDP and TCP `address` to listen on, a literal ip:port")
	fs.StringVar(&c.PrivateBind, "private-bind", c.PrivateBind, "TCP `address` of metrics, sessions, nodes and profiles, e.g. 127.0.0.1:9090; not served when empty")

	fs.StringArrayVar(&c.TLSCert, "tls-cert", c.TLSCert, "PEM `file` of a certificate chain, leaf first; repeatable, chosen by server name")
	fs.StringArrayVar(&c.TLSKey, "tls-key", c.TLSKey, "PEM `file` of the private key of the --tls-cert at the same position; repeatable")
	fs.StringArrayVar(&c.TLSRoot, "tls-root", c.TLSRoot, "PEM `file` of trust anchors for dialled links and for peers' client certificates; repeatable (default: the system's, for dialled links)")
	fs.BoolVar(&c.TLSDisableVerify, "tls-disable-verify", c.TLSDisableVerify, "accept any certificate on dialled links; for development")
	fs.StringArrayVar(&c.TLSSelfSign, "tls-self-sign", c.TLSSelfSign, "make a certificate for this host `name` at start, valid 10 days; repeatable; for development")

	fs.StringArrayVar(&c.ClusterRoot, "cluster-root", c.ClusterRoot, "`host[:port]` of a root that introduces this node to the others; repeatable")
	fs.StringVar(&c.ClusterNode, "cluster-node", c.ClusterNode, "`host[:port]` under which the other nodes dial this one")
	fs.BoolVar(&c.ClusterOpen, "cluster-open", c.ClusterOpen, "take relays without a client certificate for peers, as moq-relay 0.6.x needs; only where every client is trusted")
	fs.StringVar(&c.Region, "region", c.Region, "`name` of the region this node stands in")

	fs.BoolVar(&c.Dev, "dev", c.Dev, "development: make a certificate for localhost if none is given")
	fs.CountVarP(&c.Verbose, "verbose", "v", "log debug messages")
	fs.CountVarP(&c.Quiet, "quiet", "q", "log errors only; twice: nothing")
	fs.StringVar(&c.LogFormat, "log-format", c.LogFormat, "auto, text or json; auto is text on a terminal, else json")

	fs.StringVar(&c.QlogDir, "qlog-dir", c.QlogDir, "`directory` for a qlog file of each session over QUIC and WebTransport, SESSION.sqlog; not written when empty")
	fs.Float64Var(&c.QlogSample, "qlog-sample", c.QlogSample, "`fraction` of connections that are written to --qlog-dir, 0 to 1")
	fs.Var(&c.QlogMax, "qlog-max", "bytes of all files that this process writes to --qlog-dir; after that it writes no more")

	fs.DurationVar(&c.IdleTimeout, "idle-timeout", c.IdleTimeout, "end a connection that is silent for so long")
	fs.DurationVar(&c.KeepAlive, "keep-alive", c.KeepAlive, "time between pings on a silent connection")
	fs.DurationVar(&c.HandshakeTimeout, "handshake-timeout", c.HandshakeTimeout, "bound from the first packet to a session")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "bound of a graceful stop")
	fs.DurationVar(&c.SubscriptionLinger, "subscription-linger", c.SubscriptionLinger, "keep an upstream subscription so long after its last subscriber has left")
	fs.DurationVar(&c.AnnounceLinger, "announce-linger", c.AnnounceLinger, "keep a peer's announcements so long after its link was lost")
	fs.DurationVar(&c.CacheRetention, "cache-retention", c.CacheRetention, "keep groups so long after a newer one has come")

	fs.Var(&c.MemoryLimit, "memory-limit", "bytes of all cached frames, e.g. 512MiB; 0 is half of the memory that the process may use")
	fs.Var(&c.QueueLimit, "queue-limit", "unsent bytes of one subscription before whole groups are dropped, oldest first")
	fs.Var(&c.MaxFrameSize, "max-frame-size", "largest frame that a publisher may send")
	fs.Var(&c.MaxGroupSize, "max-group-size", "largest group that a publisher may send")
	fs.IntVar(&c.MaxSessions, "max-sessions", c.MaxSessions, "sessions of the relay")
	fs.IntVar(&c.MaxStreams, "max-streams", c.MaxStreams, "streams of each kind that a peer may have open")
	fs.IntVar(&c.MaxPaths, "max-paths", c.MaxPaths, "paths that one client session may announce; all of a node together 90 times as many")
	fs.IntVar(&c.MaxSubscriptions, "max-subscriptions", c.MaxSubscriptions, "subscriptions of one client session")
	fs.IntVar(&c.MaxInterests, "max-interests", c.MaxInterests, "announce interests of one client session")
	fs.IntVar(&c.MaxControlRate, "max-control-rate", c.MaxControlRate, "control messages of one client session per second")
}

// EnvName returns the environment variable of a flag: MOQ_ and the flag's name
// in capitals with underscores.
func EnvName(flag string) string {
	return "MOQ_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Parse reads the command line, then the environment for every flag that the
// command line does not set; lookup is os.LookupEnv or a stand-in. In a
// variable a list is separated by commas. It returns pflag.ErrHelp for --help,
// and does not validate.
func Parse(args []string, lookup func(string) (string, bool)) (Config, error) {
	c := Default()
	fs := pflag.NewFlagSet("moq-relay", pflag.ContinueOnError)
	fs.Usage = func() {}
	c.Register(fs)
	if err := fs.Parse(args); err != nil {
		return Config{}, err
	}
	if fs.NArg() > 0 {
		return Config{}, fmt.Errorf("unexpected argument %q: everything is given by flags", fs.Arg(0))
	}
	var errs []error
	fs.VisitAll(func(f *pflag.Flag) {
		value, ok := lookup(EnvName(f.Name))
		if !ok || f.Changed {
			return
		}
		if err := set(f.Value, value); err != nil {
			errs = append(errs, fmt.Errorf("%s=%q: %w", EnvName(f.Name), value, err))
		}
	})
	return c, errors.Join(errs...)
}

func set(v pflag.Value, value string) error {
	list, isList := v.(pflag.SliceValue)
	switch {
	case !isList:
		return v.Set(value)
	case value == "":
		return nil
	default:
		return list.Replace(strings.Split(value, ","))
	}
}

// Args returns the command line of c: a flag for every field that is not at
// its default, in the order of their names. Parse of it is c again.
func (c Config) Args() []string {
	// Registering a counter resets it.
	counts := map[string]int{"verbose": c.Verbose, "quiet": c.Quiet}
	have := pflag.NewFlagSet("have", pflag.ContinueOnError)
	c.Register(have)
	defaults := Default()
	want := pflag.NewFlagSet("default", pflag.ContinueOnError)
	defaults.Register(want)

	var args []string
	have.VisitAll(func(f *pflag.Flag) {
		value := f.Value.String()
		if n, ok := counts[f.Name]; ok {
			value = strconv.Itoa(n)
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, item := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+item)
			}
			return
		}
		if value != want.Lookup(f.Name).Value.String() {
			args = append(args, "--"+f.Name+"="+value)
		}
	})
	return args
}

// units from large to small, so that String finds the largest that divides.
var units = []struct {
	name string
	size Bytes
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
}

// String returns b with the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Set reads a number of bytes, with or without a unit.
func (b *Bytes) Set(s string) error {
	size := Bytes(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, size = rest, u.size
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(size) {
		return errors.New("want a number of bytes such as 67108864 or 64MiB")
	}
	*b = Bytes(n) * size
	return nil
}

// Type names the value in help texts.
func (*Bytes) Type() string { return "bytes" }
