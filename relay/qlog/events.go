package qlog

import (
	"encoding/json"
	"time"
)

// The schemas of the events in a file: that of QUIC, which the library fills in,
// and our own. That of others for MoQ (draft-pardue-moq-qlog-moq-events) is about
// MoQ Transport, which is not spoken here.
const (
	QUICSchema = "urn:ietf:params:qlog:events:quic-12"
	MoQSchema  = "https://github.com/moqrelay/moqrelay/qlog/moq-1"
)

// SessionStarted is the end of a session's handshake.
type SessionStarted struct {
	Protocol  string `json:"protocol"`
	Transport string `json:"transport"`
	Peer      string `json:"peer"` // client or node
}

// Subscribed is the beginning of a subscription that the peer has here.
type Subscribed struct {
	ID    uint64 `json:"id"`
	Track string `json:"track"`
}

// Unsubscribed is its end.
type Unsubscribed struct {
	ID    uint64 `json:"id"`
	Track string `json:"track"`
}

// SessionEnded is the end of a session, or of what did not become one.
type SessionEnded struct {
	Reason string `json:"reason"`
}

// eventsLost is in the place of events that there was no room for.
type eventsLost struct {
	Count int `json:"count"`
}

// fileEnded is the last record of a file that is not whole.
type fileEnded struct {
	Limit string `json:"limit"` // file or directory
}

// Name is moq:session_started.
func (SessionStarted) Name() string { return "moq:session_started" }

// Name is moq:subscribed.
func (Subscribed) Name() string { return "moq:subscribed" }

// Name is moq:unsubscribed.
func (Unsubscribed) Name() string { return "moq:unsubscribed" }

// Name is moq:session_ended.
func (SessionEnded) Name() string { return "moq:session_ended" }

func (eventsLost) Name() string { return "moq:events_lost" }
func (fileEnded) Name() string  { return "moq:file_ended" }

// AppendJSON adds the fields of the event.
func (e SessionStarted) AppendJSON(b []byte, _ time.Time) ([]byte, error) { return appendJSON(b, e) }

// AppendJSON adds the fields of the event.
func (e Subscribed) AppendJSON(b []byte, _ time.Time) ([]byte, error) { return appendJSON(b, e) }

// AppendJSON adds the fields of the event.
func (e Unsubscribed) AppendJSON(b []byte, _ time.Time) ([]byte, error) { return appendJSON(b, e) }

// AppendJSON adds the fields of the event.
func (e SessionEnded) AppendJSON(b []byte, _ time.Time) ([]byte, error) { return appendJSON(b, e) }

func (e eventsLost) AppendJSON(b []byte, _ time.Time) ([]byte, error) { return appendJSON(b, e) }
func (e fileEnded) AppendJSON(b []byte, _ time.Time) ([]byte, error)  { return appendJSON(b, e) }

func appendJSON(b []byte, fields any) ([]byte, error) {
	data, err := json.Marshal(fields)
	return append(b, data...), err
}
