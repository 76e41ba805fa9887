package transfork

import (
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// serveRequest reads what a stream is for and serves it.
func (s *Session) serveRequest(stream transport.Stream) {
	stream.SetPriority(base.ControlUrgency, false)
	_ = stream.SetReadDeadline(time.Now().Add(base.RequestTimeout)) // a stream that is gone fails below
	r := base.NewReader(stream)
	typ, err := base.Next(r, wire.ConsumeStreamType)
	if err != nil {
		s.RefuseRequest(stream, err)
		return
	}
	if !s.AdmitControl() {
		return
	}
	switch typ {
	case wire.StreamAnnounce:
		s.serveAnnounce(stream, r)
	case wire.StreamSubscribe:
		s.serveSubscribe(stream, r)
	case wire.StreamFetch:
		s.serveFetch(stream, r)
	case wire.StreamInfo:
		s.serveInfo(stream, r)
	case wire.StreamSession:
		refuse(stream, wire.CodeUnexpectedStream)
	default:
		refuse(stream, wire.CodeDecode)
	}
}

// pathOf returns the relay's path of parts on the wire.
func pathOf(parts []string) moq.Path { return moq.NewPath(parts...) }

// hasWireForm tells whether a path can be said on the wire. Other protocols may
// have paths that cannot.
func hasWireForm(p moq.Path) bool {
	probe := wire.InfoRequest{Path: p.Parts()}.Append(nil)
	_, _, err := wire.ConsumeInfoRequest(probe)
	return err == nil
}

// track returns the live track that the peer asks for.
func (s *Session) track(path moq.Path) (*moq.Track, error) { return s.Lookup(path, s.mayServe) }

// mayServe says which announcements the peer's requests are routed by. A client
// may have back what it publishes itself, as with moq-relay 0.6.8; between
// nodes that would be a loop.
func (s *Session) mayServe(a origin.Announcement) bool {
	if s.isPeer() && a.Source == origin.Source(s) {
		return false
	}
	return s.Config.Visible(a)
}
