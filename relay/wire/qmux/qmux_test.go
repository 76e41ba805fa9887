package qmux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/quic-go/quic-go/quicvarint"
)

var versions = []Version{Version00, Version01, Version02, Legacy}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// browserParameters is vector Q1, what a browser sends.
const browserParameters = "ff 51 53 30 0d 0a 0d 0a 35 01 04 80 00 75 30 04 04 80 10 00 00 05 04 80 04 00 00 06 04 80 04 00 00 07 04" +
	"80 04 00 00 08 02 40 64 09 02 40 64 20 02 7f fe c5 71 c5 94 29 cd 08 45 02 7f fe"

var browser = Parameters{
	IdleTimeout: 30000, MaxData: 1 << 20,
	MaxStreamDataOwn: 256 << 10, MaxStreamDataPeer: 256 << 10, MaxStreamDataUni: 256 << 10,
	MaxStreamsBidi: 100, MaxStreamsUni: 100, MaxDatagram: 16382, MaxRecord: 16382,
}

type vector struct {
	bytes string
	want  Frame
	// other is set where we write the same frame otherwise.
	other bool
}

var vectors = map[string]vector{
	"Q2 stream with a SETUP and FIN": {"0f 03 00 03 01 01 00", Frame{Type: Stream, ID: 3, HasOffset: true, Fin: true, Data: []byte{1, 1, 0}}, false},
	"Q3 reset":                       {"04 07 0d 41 2c", Frame{Type: ResetStream, ID: 7, Code: 13, FinalSize: 300}, false},
	"Q4 stop":                        {"05 07 00", Frame{Type: StopSending, ID: 7}, false},
	"Q5 ping":                        {"f4 8c 67 52 9e f8 c7 bd 05", Frame{Type: Ping, Sequence: 5}, false},
	"Q5 response":                    {"f4 8c 67 52 9e f8 c7 be 05", Frame{Type: PingResponse, Sequence: 5}, false},
	"Q6 more streams":                {"13 40 65", Frame{Type: MaxStreamsUni, Limit: 101}, false},
	"Q7 close":                       {"1d 00 00", Frame{Type: ApplicationClose}, false},
	"Q8 type":                        {"0e 00 00 01 01", Frame{Type: Stream, HasOffset: true, Data: []byte{1}}, false},
	"Q8 length":                      {"0e 00 01 01 09", Frame{Type: Stream, HasOffset: true, Offset: 1, Data: []byte{9}}, false},
	"Q8 message": {
		"0e 00 02 09 00 c0 01 02 03 04 05 06 07",
		Frame{Type: Stream, HasOffset: true, Offset: 2, Data: []byte{0, 0xc0, 1, 2, 3, 4, 5, 6, 7}},
		false,
	},
	"stream without offset":       {"0b 03 01 ff", Frame{Type: Stream, ID: 3, Fin: true, Data: []byte{0xff}}, false},
	"stream to the end":           {"08 03 01 ff", Frame{Type: Stream, ID: 3, Data: []byte{1, 0xff}}, true},
	"stream with offset, no more": {"0d 03 05", Frame{Type: Stream, ID: 3, HasOffset: true, Offset: 5, Fin: true}, true},
	"padding":                     {"00", Frame{Type: Padding}, false},
	"connection credit":           {"10 80 10 00 00", Frame{Type: MaxData, Limit: 1 << 20}, false},
	"stream credit":               {"11 03 41 00", Frame{Type: MaxStreamData, ID: 3, Limit: 256}, false},
	"blocked":                     {"15 03 41 00", Frame{Type: StreamDataBlocked, ID: 3, Limit: 256}, false},
	"failure":                     {"1c 0a 08 02 6e 6f", Frame{Type: ConnectionClose, Code: 10, FrameType: 8, Reason: "no"}, false},
	"datagram":                    {"31 02 01 02", Frame{Type: Datagram, Data: []byte{1, 2}}, false},
	"datagram to the end":         {"30 01 02", Frame{Type: Datagram, Data: []byte{1, 2}}, true},
	"parameters": {
		"ff 51 53 30 0d 0a 0d 0a 03 08 01 05",
		Frame{Type: TransportParameters, Data: []byte{8, 1, 5}},
		false,
	},
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for name, v := range vectors {
		t.Run(name, func(t *testing.T) {
			b := unhex(t, v.bytes)
			got, n, err := Consume(b, Version01)
			if err != nil || n != len(b) {
				t.Fatalf("took %d of %d bytes, %v", n, len(b), err)
			}
			if diff := cmp.Diff(v.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := v.want.Append(nil, Version01); !v.other && !bytes.Equal(again, b) {
				t.Errorf("appended as % x, want % x", again, b)
			}
		})
	}
}

// TestVectorQ1 holds the parameters of a browser, both ways.
func TestVectorQ1(t *testing.T) {
	t.Parallel()
	b := unhex(t, browserParameters)
	f, n, err := Consume(b, Version01)
	if err != nil || n != len(b) || f.Type != TransportParameters {
		t.Fatalf("took %d bytes as %#x, %v", n, f.Type, err)
	}
	got, err := ConsumeParameters(f.Data, Version01)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(browser, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again := Frame{Type: TransportParameters, Data: browser.Append(nil)}.Append(nil, Version01)
	if !bytes.Equal(again, b) {
		t.Errorf("appended as % x, want % x", again, b)
	}
}

func TestLegacy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		bytes string
		want  Frame
	}{
		"data":    {"08 03 01 ff", Frame{Type: Stream, ID: 3, Data: []byte{1, 0xff}}},
		"FIN":     {"09 03", Frame{Type: Stream, ID: 3, Fin: true}},
		"reset":   {"04 07 0d", Frame{Type: ResetStream, ID: 7, Code: 13}},
		"stop":    {"05 07 00", Frame{Type: StopSending, ID: 7}},
		"close":   {"1d 05 62 79 65", Frame{Type: ApplicationClose, Code: 5, Reason: "bye"}},
		"failure": {"1c 05", Frame{Type: ConnectionClose, Code: 5}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := unhex(t, c.bytes)
			got, n, err := Consume(b, Legacy)
			if err != nil || n != len(b) {
				t.Fatalf("took %d of %d bytes, %v", n, len(b), err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := c.want.Append(nil, Legacy); !bytes.Equal(again, b) {
				t.Errorf("appended as % x, want % x", again, b)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		version Version
		bytes   string
		want    error
	}{
		"nothing":                          {Version01, "", ErrShort},
		"half a type":                      {Version01, "f4 8c", ErrShort},
		"data of 4 GiB":                    {Version01, "0a 03 c0 00 00 01 00 00 00 00", ErrShort},
		"data of 2^62-1":                   {Version01, "0e 03 00 ff ff ff ff ff ff ff ff 00", ErrShort},
		"reason of 2^62-1":                 {Version01, "1d 00 ff ff ff ff ff ff ff ff", ErrShort},
		"parameters of 2^62-1":             {Version01, "ff 51 53 30 0d 0a 0d 0a ff ff ff ff ff ff ff ff", ErrShort},
		"unknown type":                     {Version01, "02", ErrMalformed},
		"more streams than ids":            {Version01, "13 d0 00 00 00 00 00 00 01", ErrMalformed},
		"reset-at before 02":               {Version01, "24 03 00 05 05", ErrMalformed},
		"reset-at beyond the end":          {Version02, "24 03 00 05 06", ErrMalformed},
		"ping in 00":                       {Version00, "f4 8c 67 52 9e f8 c7 bd 05", ErrMalformed},
		"datagram in 00":                   {Version00, "30 01", ErrMalformed},
		"length in the legacy framing":     {Legacy, "0a 03 01 00", ErrMalformed},
		"credit in the legacy framing":     {Legacy, "10 01", ErrMalformed},
		"parameters in the legacy framing": {Legacy, "ff 51 53 30 0d 0a 0d 0a 00", ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if f, n, err := Consume(unhex(t, c.bytes), c.version); !errors.Is(err, c.want) || n != 0 {
				t.Errorf("read %+v from %d bytes, %v; want %v", f, n, err, c.want)
			}
		})
	}
}

func TestParametersRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		version Version
		bytes   string
	}{
		"cut off":                 {Version01, "01 04 80 00"},
		"twice":                   {Version01, "04 01 05 04 01 05"},
		"of QUIC alone":           {Version01, "0e 01 02"},
		"connection id":           {Version01, "00 00"},
		"token list":              {Version01, "fd 4f 9c 2a 8b 1e 60 75 00"},
		"record below the least":  {Version01, "c5 71 c5 94 29 cd 08 45 02 7f fd"},
		"value with bytes behind": {Version01, "04 02 05 05"},
		"no value":                {Version01, "04 00"},
		"more streams than ids":   {Version01, "09 08 d0 00 00 00 00 00 00 01"},
		"reset-at with a value":   {Version02, "1d 01 00"},
		"reset-at twice":          {Version02, "1d 00 1d 00"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if p, err := ConsumeParameters(unhex(t, c.bytes), c.version); err == nil {
				t.Errorf("read as %+v", p)
			}
		})
	}
}

func TestParametersSkipped(t *testing.T) {
	t.Parallel()
	// An unknown id, twice, and the one that only qmux-02 knows.
	got, err := ConsumeParameters(unhex(t, "7f 00 01 ff 7f 00 01 ff 1d 01 07 08 01 05"), Version01)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Parameters{MaxStreamsBidi: 5}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := ConsumeParameters(unhex(t, "1d 00"), Version02); err != nil || !got.ResetStreamAt {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestVersionNames(t *testing.T) {
	t.Parallel()
	var got []string
	for _, v := range versions {
		got = append(got, v.String())
	}
	if diff := cmp.Diff([]string{"qmux-00", "qmux-01", "qmux-02", "webtransport"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzFrame holds what must be true for any bytes: reading them does not panic;
// a frame that was read is written as bytes that give the same frame.
func FuzzFrame(f *testing.F) {
	for _, v := range vectors {
		for version := range versions {
			f.Add(unhex(f, v.bytes), uint8(version))
		}
	}
	f.Add(unhex(f, browserParameters), uint8(Version01))
	f.Add(unhex(f, "24 03 00 05 05"), uint8(Version02))
	f.Fuzz(func(t *testing.T, b []byte, version uint8) {
		v := versions[int(version)%len(versions)]
		frame, n, err := Consume(b, v)
		if err != nil {
			if n != 0 || !errors.Is(err, ErrShort) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("% x: took %d bytes, error %v", b, n, err)
			}
			return
		}
		if n > len(b) || n == 0 {
			t.Fatalf("% x: took %d bytes of %d", b, n, len(b))
		}
		again := frame.Append(nil, v)
		frame2, n2, err := Consume(again, v)
		if err != nil || n2 != len(again) {
			t.Fatalf("% x: appended as % x, which reads as %d bytes, %v", b, again, n2, err)
		}
		if diff := cmp.Diff(frame, frame2, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("% x: reads as another frame after appending (-first +second):\n%s", b, diff)
		}
	})
}

func FuzzParameters(f *testing.F) {
	f.Add(unhex(f, browserParameters)[9:], false)
	f.Add(unhex(f, "1d 00"), true)
	f.Fuzz(func(t *testing.T, b []byte, is02 bool) {
		v := Version01
		if is02 {
			v = Version02
		}
		p, err := ConsumeParameters(b, v)
		if err != nil {
			if !errors.Is(err, ErrShort) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("% x: error %v", b, err)
			}
			return
		}
		again, err := ConsumeParameters(p.Append(nil), v)
		if err != nil || again != p {
			t.Fatalf("% x: %+v reads as %+v after appending, %v", b, p, again, err)
		}
	})
}

// TestNoAlloc: the frames of a running connection cost no memory.
func TestNoAlloc(t *testing.T) {
	b := Frame{Type: Stream, ID: 3, HasOffset: true, Data: make([]byte, 1000)}.Append(nil, Version01)
	b = Frame{Type: MaxData, Limit: quicvarint.Max}.Append(b, Version01)
	out := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() {
		for rest := b; len(rest) > 0; {
			f, n, err := Consume(rest, Version01)
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			out = f.Append(out[:0], Version01)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
