package moqlite

import (
	"context"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

const (
	// probeInterval is how often the connection is looked at for a Probe stream.
	probeInterval = 100 * time.Millisecond
	// probeRepeat is how often is said what has not changed.
	probeRepeat = 10 * time.Second
	// probeStep is the change of a round trip time that is worth a message.
	probeStep = 0.25
)

// serveProbe reports what is known of the connection until the peer ends the
// stream: its round trip time. What could be sent, QUIC does not tell, and 0
// says so. Targets that a peer writes are read and not heeded.
func (s *Session) serveProbe(stream transport.Stream, r *base.Reader) {
	_ = stream.SetReadDeadline(time.Time{}) // a stream that is gone fails at the next use
	if !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	ctx, cancel := context.WithCancel(s.Conn.Context())
	defer cancel()
	if !s.Spawn(func() { defer cancel(); _ = s.AwaitLeave(r) }) {
		return
	}
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	var told time.Duration
	var toldAt time.Time
	for {
		rtt := s.Conn.Stats().SmoothedRTT
		if time.Since(toldAt) >= probeRepeat || (rtt-told).Abs() > time.Duration(probeStep*float64(told)) {
			millis := uint64((rtt + time.Millisecond - 1) / time.Millisecond)
			if _, err := stream.Write(wire.Probe{RTT: millis}.Append(nil, s.version)); err != nil {
				s.Refuse(stream, moq.ErrCancelled)
				return
			}
			told, toldAt = rtt, time.Now()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			_ = stream.Close() // a FIN for a FIN
			stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
			return
		}
	}
}
