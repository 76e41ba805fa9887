package transport

import (
	"bytes"
	"context"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlogwriter"
	"github.com/quic-go/quic-go/qlogwriter/jsontext"

	"github.com/moqrelay/moqrelay/relay/qlog"
)

// tracer returns the quic.Config.Tracer that has connections written to d.
func tracer(d *qlog.Directory) func(context.Context, bool, quic.ConnectionID) qlogwriter.Trace {
	return func(_ context.Context, isClient bool, original quic.ConnectionID) qlogwriter.Trace {
		t := d.Begin(newID(), isClient, original.String())
		if t == nil {
			return nil
		}
		return quicTrace{t}
	}
}

// traceOf returns what is written about a connection, nil if nothing is.
func traceOf(qc *quic.Conn) *qlog.Trace {
	t, ok := qc.QlogTrace().(quicTrace)
	if !ok {
		return nil
	}
	return t.trace
}

// quicTrace is a trace as quic-go knows it.
type quicTrace struct{ trace *qlog.Trace }

// AddProducer returns what the QUIC connection records with. nil means that the
// trace is over.
func (t quicTrace) AddProducer() qlogwriter.Recorder {
	if !t.trace.Hold() {
		return nil
	}
	return quicRecorder(t)
}

// SupportsSchemas refuses HTTP/3: its events have the fields of requests, and a
// request's path can have a token in its query.
func (quicTrace) SupportsSchemas(schema string) bool { return schema == qlog.QUICSchema }

// quicRecorder records events of QUIC.
type quicRecorder struct{ trace *qlog.Trace }

func (r quicRecorder) RecordEvent(e qlogwriter.Event) { r.trace.Record(quicEvent{e}) }

func (r quicRecorder) Close() error {
	r.trace.Release()
	return nil
}

// quicEvent is an event of QUIC.
type quicEvent struct{ qlogwriter.Event }

// AppendJSON has the library encode it.
func (e quicEvent) AppendJSON(b []byte, at time.Time) ([]byte, error) {
	buffer := bytes.NewBuffer(b)
	err := e.Encode(jsontext.NewEncoder(buffer), at)
	return buffer.Bytes(), err
}
