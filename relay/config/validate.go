package config

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Validate reports everything that is wrong with c, each by the flag that it
// concerns and with the remedy. It reads no file.
func (c Config) Validate() error {
	return errors.Join(c.validateListeners(), c.validateTLS(), c.validateCluster(), c.validateQlog(), c.validateLimits())
}

func (c Config) validateListeners() error {
	var errs []error
	if _, err := netip.ParseAddrPort(c.Bind); err != nil {
		errs = append(errs, fmt.Errorf("--bind %q: want a literal address with a port, such as [::]:4443 or 127.0.0.1:4443", c.Bind))
	}
	if c.PrivateBind != "" {
		if _, err := netip.ParseAddrPort(c.PrivateBind); err != nil {
			errs = append(errs, fmt.Errorf("--private-bind %q: want a literal address with a port, such as 127.0.0.1:9090", c.PrivateBind))
		}
	}
	if c.Verbose > 0 && c.Quiet > 0 {
		errs = append(errs, errors.New("--verbose and --quiet exclude each other: drop one"))
	}
	switch c.LogFormat {
	case "auto", "text", "json":
	default:
		errs = append(errs, fmt.Errorf("--log-format %q: want auto, text or json", c.LogFormat))
	}
	return errors.Join(errs...)
}

func (c Config) validateTLS() error {
	if len(c.TLSCert) != len(c.TLSKey) {
		return fmt.Errorf("--tls-cert is given %d times and --tls-key %d times: every certificate needs its key at the same position", len(c.TLSCert), len(c.TLSKey))
	}
	if len(c.TLSCert) == 0 && len(c.TLSSelfSign) == 0 && !c.Dev {
		return errors.New("no certificate: give --tls-cert and --tls-key, or --tls-self-sign localhost for development")
	}
	return nil
}

func (c Config) validateCluster() error {
	var errs []error
	for _, root := range c.ClusterRoot {
		if _, _, err := SplitHost(root); err != nil {
			errs = append(errs, fmt.Errorf("--cluster-root: %w", err))
		}
	}
	if c.ClusterNode != "" {
		if _, _, err := SplitHost(c.ClusterNode); err != nil {
			errs = append(errs, fmt.Errorf("--cluster-node: %w", err))
		}
	}
	return errors.Join(errs...)
}

// minQlog is the least for all qlog files together: some minutes of one session.
const minQlog = 1 << 20

func (c Config) validateQlog() error {
	var errs []error
	if !(c.QlogSample >= 0 && c.QlogSample <= 1) { // NaN is neither
		errs = append(errs, fmt.Errorf("--qlog-sample %v: want a fraction from 0, for no connection, to 1, for all", c.QlogSample))
	}
	if c.QlogMax < minQlog {
		errs = append(errs, fmt.Errorf("--qlog-max %v: want %v or more", c.QlogMax, Bytes(minQlog)))
	}
	return errors.Join(errs...)
}

func (c Config) validateLimits() error {
	var errs []error
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"idle-timeout", c.IdleTimeout, time.Second},
		{"keep-alive", c.KeepAlive, 100 * time.Millisecond},
		{"handshake-timeout", c.HandshakeTimeout, 100 * time.Millisecond},
		{"drain-timeout", c.DrainTimeout, 0},
		{"subscription-linger", c.SubscriptionLinger, 0},
		{"announce-linger", c.AnnounceLinger, 0},
		{"cache-retention", c.CacheRetention, 0},
	} {
		if d.value < d.least {
			errs = append(errs, fmt.Errorf("--%s %v: want %v or more", d.flag, d.value, d.least))
		}
	}
	if c.KeepAlive >= c.IdleTimeout {
		errs = append(errs, fmt.Errorf("--keep-alive %v: want less than --idle-timeout %v, or silent connections end", c.KeepAlive, c.IdleTimeout))
	}
	if c.MaxFrameSize > c.MaxGroupSize {
		errs = append(errs, fmt.Errorf("--max-frame-size %v: want no more than --max-group-size %v", c.MaxFrameSize, c.MaxGroupSize))
	}
	for _, n := range []struct {
		flag  string
		value int64
	}{
		{"queue-limit", int64(c.QueueLimit)},
		{"max-frame-size", int64(c.MaxFrameSize)},
		{"max-group-size", int64(c.MaxGroupSize)},
		{"max-sessions", int64(c.MaxSessions)},
		{"max-streams", int64(c.MaxStreams)},
		{"max-paths", int64(c.MaxPaths)},
		{"max-subscriptions", int64(c.MaxSubscriptions)},
		{"max-interests", int64(c.MaxInterests)},
		{"max-control-rate", int64(c.MaxControlRate)},
	} {
		if n.value < 1 {
			errs = append(errs, fmt.Errorf("--%s %d: want 1 or more", n.flag, n.value))
		}
	}
	return errors.Join(errs...)
}
