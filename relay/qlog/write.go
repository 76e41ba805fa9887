package qlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	// maxHead bounds the records of a connection that is no session yet, which wait
	// in memory.
	maxHead = 64 << 10
	// noteRoom is kept free in a file for the last note.
	noteRoom = 512
	// recordSeparator begins a record, and a line feed ends it (RFC 7464, section
	// 2.2).
	recordSeparator = 0x1e
)

// write encodes what was taken from a trace, and writes it once that is kept.
func (d *Directory) write(t *Trace, b batch) {
	if reason := t.stopReason(); reason != "" {
		d.drop(len(b.entries), reason)
		return
	}
	if b.isOver && !b.isKept {
		return // no session came of it
	}
	if t.size == 0 && len(t.pending) == 0 {
		t.pending = t.appendHeader(t.pending)
	}
	for i, e := range b.entries {
		record, err := encode(e, t.began)
		if err != nil {
			d.drop(1, DroppedEncode)
			b.lost++
			continue
		}
		switch limit := d.reached(t, len(record)); {
		case b.isKept && limit != "":
			d.drop(len(b.entries)-i, DroppedLimit)
			d.finish(t, limit)
			return
		case !b.isKept && len(t.pending)+len(record) > maxHead:
			d.drop(1, DroppedLimit)
			b.lost++
		default:
			t.pending = append(t.pending, record...)
		}
	}
	if b.lost > 0 {
		t.note(eventsLost{b.lost})
	}
	if b.isKept {
		d.flush(t)
	}
}

// reached returns which limit n further bytes of a trace would go over, "" for
// none. A note has room all the same.
func (d *Directory) reached(t *Trace, n int) string {
	more := int64(len(t.pending) + n + noteRoom)
	switch {
	case d.written+more > d.config.MaxBytes:
		return "directory"
	case t.size+more > maxFile:
		return "file"
	default:
		return ""
	}
}

// finish writes the last of a file, because of a limit.
func (d *Directory) finish(t *Trace, limit string) {
	t.note(fileEnded{limit})
	d.flush(t)
	t.stop(DroppedLimit)
	if limit == "directory" {
		d.fill()
	}
}

// flush writes what is pending, if there is room for it. A file that cannot be
// written is given up.
func (d *Directory) flush(t *Trace) {
	if n := int64(len(t.pending)); n > 0 && d.written+n <= d.config.MaxBytes {
		if err := d.put(t); err != nil {
			t.stop(DroppedDisk)
			d.warn(err)
		}
	}
	if t.pending = t.pending[:0]; cap(t.pending) > maxHead {
		t.pending = nil
	}
}

func (d *Directory) put(t *Trace) error {
	if t.file == nil {
		file, err := d.config.Create(d.path(t))
		if err != nil {
			return err
		}
		t.file = file
	}
	n, err := t.file.Write(t.pending)
	t.size += int64(n)
	d.written += int64(n)
	return err
}

func (d *Directory) drop(n int, reason DropReason) {
	for range n {
		d.config.Dropped(reason)
	}
}

// note adds a record of our own.
func (t *Trace) note(e Event) {
	if record, err := encode(entry{time.Now(), e}, t.began); err == nil {
		t.pending = append(t.pending, record...)
	}
}

// encode returns the record of one event, whose time is in milliseconds since the
// trace began. Who encodes the event is not ours: text that a peer chose is made
// UTF-8 here, and a panic is an error.
func encode(e entry, began time.Time) (record []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("encode a qlog event: panic: %v", v)
		}
	}()
	b := make([]byte, 0, 512)
	b = append(b, recordSeparator)
	b = append(b, `{"time":`...)
	b = strconv.AppendFloat(b, float64(e.at.Sub(began).Microseconds())/1000, 'f', -1, 64)
	b = append(b, `,"name":`...)
	b = strconv.AppendQuote(b, e.event.Name())
	b = append(b, `,"data":`...)
	if b, err = e.event.AppendJSON(b, e.at); err != nil {
		return nil, err
	}
	b = append(bytes.TrimSpace(b), "}\n"...)
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return b, nil
}

// header is the first record of a file (draft-ietf-quic-qlog-main-schema-12,
// section 5, "QlogFileSeq"), with two fields of earlier versions that qvis asks for.
type header struct {
	FileSchema          string      `json:"file_schema"`
	SerializationFormat string      `json:"serialization_format"`
	Title               string      `json:"title"`
	Trace               headerTrace `json:"trace"`
	Format              string      `json:"qlog_format"`
	Version             string      `json:"qlog_version"`
}

type headerTrace struct {
	EventSchemas []string          `json:"event_schemas"`
	VantagePoint map[string]string `json:"vantage_point"`
	CommonFields commonFields      `json:"common_fields"`
}

type commonFields struct {
	GroupID       string            `json:"group_id"`
	ReferenceTime map[string]string `json:"reference_time"`
}

// appendHeader adds the first record.
func (t *Trace) appendHeader(b []byte) []byte {
	vantage := "server"
	if t.isClient {
		vantage = "client"
	}
	h, err := json.Marshal(header{
		FileSchema:          "urn:ietf:params:qlog:file:sequential",
		SerializationFormat: "application/qlog+json-seq",
		Title:               "moq-relay session " + t.id,
		Trace: headerTrace{
			EventSchemas: []string{QUICSchema, MoQSchema},
			VantagePoint: map[string]string{"type": vantage},
			CommonFields: commonFields{
				GroupID: t.group,
				ReferenceTime: map[string]string{
					"clock_type": "monotonic", "epoch": "unknown", "wall_clock_time": t.began.Format(time.RFC3339Nano),
				},
			},
		},
		Format: "JSON-SEQ", Version: "0.3",
	})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(append(append(b, recordSeparator), h...), '\n')
}
