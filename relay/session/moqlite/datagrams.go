package moqlite

import (
	"github.com/moqrelay/moqrelay/relay/moq"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// A datagram is a group of one frame. It goes to the subscriptions of its track
// that are there and whose sessions have datagrams, and to no other.

// receiveDatagrams hands on the datagrams of subscriptions that there are, until
// the connection ends. All others are no one's fault: they were sent before an
// unsubscribe had arrived.
func (s *Session) receiveDatagrams() {
	for {
		b, err := s.Conn.ReceiveDatagram(s.Conn.Context())
		if err != nil {
			return
		}
		m, _, err := wire.ConsumeDatagram(b)
		if err != nil {
			continue
		}
		s.mu.Lock()
		u := s.receiving[m.ID]
		s.mu.Unlock()
		if u == nil {
			continue
		}
		s.Traffic.IngressGroups.Inc()
		s.Traffic.IngressFrames.Inc()
		s.Traffic.IngressBytes.Add(float64(len(m.Payload)))
		u.Track.PublishDatagram(m.Sequence, m.Timestamp, m.Payload)
	}
}

// sendDatagrams sends what waits for the peer's subscriptions, until the
// connection ends. A datagram that is too large is not sent.
func (s *Session) sendDatagrams() {
	var buf []byte
	for {
		id, d, dropped, err := s.mailbox.Next(s.Conn.Context())
		if err != nil {
			return
		}
		if dropped > 0 {
			s.Config.Metrics.GroupsDropped(moq.SlowSubscriber.String(), dropped)
		}
		if len(d.Payload) > wire.MaxDatagram {
			continue
		}
		buf = wire.Datagram{ID: id, Sequence: d.Sequence, Timestamp: d.Timestamp, Payload: d.Payload}.Append(buf[:0])
		if err := s.Conn.SendDatagram(buf); err != nil {
			continue // Next says whether the connection has ended
		}
		s.Traffic.EgressGroups.Inc()
		s.Traffic.EgressFrames.Inc()
		s.Traffic.EgressBytes.Add(float64(len(d.Payload)))
	}
}
