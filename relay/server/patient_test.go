package server

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scarce is a listener that meets an error for each connection it gives out.
type scarce struct {
	errs   []error
	closed chan struct{}
}

func newScarce(errs ...error) *scarce { return &scarce{errs: errs, closed: make(chan struct{})} }

func (s *scarce) Accept() (net.Conn, error) {
	if len(s.errs) == 0 {
		<-s.closed
		return nil, net.ErrClosed
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	conn, other := net.Pipe()
	return conn, other.Close()
}

func (s *scarce) Close() error   { close(s.closed); return nil }
func (s *scarce) Addr() net.Addr { return &net.TCPAddr{} }

// TestAcceptIsRetried: what passes is waited for, a little longer each time, and
// what does not is told as it is.
func TestAcceptIsRetried(t *testing.T) {
	for name, tt := range map[string]struct {
		reason string
		errs   []error
		want   error
		after  time.Duration
	}{
		"no descriptors": {"others are closed in a moment", []error{syscall.EMFILE, syscall.ENFILE, nil}, nil, 15 * time.Millisecond},
		"no memory":      {"the kernel has some in a moment", []error{syscall.ENOBUFS, syscall.ENOMEM, syscall.ENOMEM, nil}, nil, 35 * time.Millisecond},
		"not for long":   {"the wait is bounded", append(slices.Repeat([]error{syscall.EMFILE}, 12), nil), nil, (5+10+20+40+80+160+320+640)*time.Millisecond + 4*time.Second},
		"broken":         {"the descriptor is no listener's", []error{syscall.EMFILE, syscall.EINVAL}, syscall.EINVAL, 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := patient(newScarce(tt.errs...), slog.New(slog.DiscardHandler))
				began := time.Now()
				if _, err := l.Accept(); !errors.Is(err, tt.want) {
					t.Errorf("Accept returns %v, want %v: %s", err, tt.want, tt.reason)
				}
				if took := time.Since(began); took != tt.after {
					t.Errorf("after %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// TestAcceptWaitsUntilClose: a listener that is waited for can be closed.
func TestAcceptWaitsUntilClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := split(patient(newScarce(syscall.EMFILE), slog.New(slog.DiscardHandler)), nil)
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returns %v after Close", err)
		}
	})
}

// TestAcceptTellsWhy: the error that ends a listener is the one that is told.
func TestAcceptTellsWhy(t *testing.T) {
	l := split(patient(newScarce(syscall.EBADF), slog.New(slog.DiscardHandler)), nil)
	defer func() { _ = l.Close() }()
	if _, err := l.Accept(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Accept returns %v, want %v", err, syscall.EBADF)
	}
}
