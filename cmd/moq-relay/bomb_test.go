package main

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// huge is the largest number on the wire, 2^62-1.
const huge = "ff ff ff ff ff ff ff ff"

// unhex reads bytes as the tables of the protocol write them.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// TestS17LengthBombs: every length, count and number of every message at its
// largest ends its stream or its session at most, and has nothing allocated.
func TestS17LengthBombs(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := startRelay(t, ca, "--handshake-timeout", "2s")
	publish(t, ca, p, "demo")
	beside := watch(t, ca, p, "demo")
	before := p.heap()
	const (
		session   = "00 01 c0000000ff0bad02"
		subscribe = "02 00 01 04 64656d6f 80 01"
	)
	for name, bytes := range map[string]string{
		"versions":         "00" + huge,
		"extensions":       session + huge,
		"extension":        session + "01 40 50" + huge,
		"extension id":     session + "01" + huge + huge,
		"type of a stream": huge,
	} {
		t.Run("handshake, "+name, func(t *testing.T) {
			conn, _ := dial(t, ca, p)
			s := open(t, conn, unhex(bytes))
			_, _ = s.Write(make([]byte, 1000)) // may come too late
			wantClosed(t, conn, promptly)
		})
	}
	for name, bytes := range map[string]string{
		"type":                          huge,
		"announce, parts":               "01" + huge,
		"announce, part":                "01 01" + huge,
		"subscribe, parts":              "02 00" + huge,
		"subscribe, part":               "02 00 01" + huge,
		"subscribe, order":              "02 00 01 04 64656d6f 80" + huge,
		"subscribe, id and path":        "02" + huge + huge,
		"subscribe, expires":            subscribe + huge + "00 00",
		"subscribe, range":              subscribe + "00" + huge + huge,
		"subscribe, all":                "02" + huge + "01 04 64656d6f 80 01" + huge + huge + huge,
		"update, all":                   subscribe + "00 00 00 80 01" + huge + huge + huge,
		"update, order":                 subscribe + "00 00 00 80" + huge,
		"fetch, parts":                  "03" + huge,
		"fetch, part":                   "03 01" + huge,
		"fetch, group and offset":       "03 01 04 64656d6f 80" + huge + huge,
		"info, parts":                   "04" + huge,
		"info, part":                    "04 01" + huge,
		"a path of 1 KiB and a byte":    "04 02 44 00" + strings.Repeat("78", 1024) + "01 78",
		"a path of 33 parts":            "04 21" + strings.Repeat("01 78", 33),
		"a message that does not end":   "01 20" + strings.Repeat("00", 31) + "bf ff ff ff" + strings.Repeat("00", 70<<10),
		"a part that is longer than it": "04 01 43 ff" + strings.Repeat("78", 10),
	} {
		t.Run("request, "+name, func(t *testing.T) {
			conn, _ := dial(t, ca, p)
			shake(t, conn)
			s := open(t, conn, nil)
			_ = s.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = s.Write(unhex(bytes)) // may be refused before its end
			_, _ = s.Write(make([]byte, 1000))
			wantServed(t, conn)
		})
	}
	for name, bytes := range map[string]string{
		"type":                huge,
		"group, id":           "00" + huge + "00",
		"group, all":          "00" + huge + huge,
		"group, id, and data": "00" + huge + "00" + huge + strings.Repeat("78", 5000),
	} {
		t.Run("group, "+name, func(t *testing.T) {
			conn, _ := dial(t, ca, p)
			shake(t, conn)
			s, err := conn.OpenUniStream()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = s.Write(unhex(bytes)) // may be refused before its end
			select {
			case <-s.Stopped():
			case <-time.After(promptly):
				t.Error("the stream is not refused")
			}
			wantServed(t, conn)
		})
	}
	for name, bytes := range map[string]string{
		"status": "ff",
		"parts":  "01" + huge,
		"part":   "01 01" + huge,
		"ended":  "00" + huge,
	} {
		t.Run("announcement, "+name, func(t *testing.T) {
			conn, _ := dial(t, ca, p)
			s := announcer(t, conn)
			_, _ = s.Write(unhex(bytes)) // may be refused before its end
			wantServed(t, conn)
		})
	}
	t.Run("update of the session", func(t *testing.T) {
		conn, _ := dial(t, ca, p)
		s := shake(t, conn)
		_, _ = s.Write(unhex(huge + huge))
		wantServed(t, conn)
	})
	for name, bombs := range map[string][2]string{ // at the end of the answer, and in the group
		"size of a frame":      {"80 01 00 00", huge},
		"second frame":         {"80 01 00 00", "01 61" + huge},
		"frame over the limit": {"80 01 00 00", "82 00 00 01"}, // 32 MiB and a byte
		"answer":               {"80 01" + huge + huge, "01 61"},
		"order of the answer":  {"80" + huge, "01 61"},
		"dropped groups":       {"80 01 00 00 00" + huge + "00", "01 61"},
		"all dropped":          {"80 01 00 00" + huge + huge + huge, "01 61"},
	} {
		t.Run("publisher, "+name, func(t *testing.T) {
			bombPublisher(t, ca, p, unhex(bombs[0]), unhex(bombs[1]))
		})
	}
	for name, send := range http3Bombs {
		t.Run("HTTP/3, "+name, func(t *testing.T) {
			t.Parallel() // these end by their time limit
			bombHTTP3(t, ca, p, send)
		})
	}
	t.Cleanup(func() {
		beside.take("among bombs")
		p.wantHeap(before, 4*mib)
		if got := p.metric("moq_relay_panics_total"); got != 0 {
			t.Errorf("%v panics", got)
		}
		p.noErrors()
	})
}

// wantServed holds that the relay still serves a session, or has ended it for
// what it sent.
func wantServed(t *testing.T, conn transport.Conn) {
	t.Helper()
	s, err := conn.OpenStream(t.Context())
	if err == nil {
		_, err = s.Write(wire.InfoRequest{Path: []string{"nothing"}}.Append(wire.StreamInfo.Append(nil)))
	}
	if err == nil {
		_ = s.SetReadDeadline(time.Now().Add(promptly))
		_, err = s.Read(make([]byte, 16))
	}
	if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote && e.Code == uint32(wire.CodeNotFound) {
		return
	}
	t.Logf("the session was closed: %v", wantClosed(t, conn, promptly))
}

// bombPublisher has a viewer subscribe to a publisher that answers with these
// bytes and begins a group with those.
func bombPublisher(t *testing.T, ca *authority, p *process, answer, frames []byte) {
	t.Helper()
	conn, _ := dial(t, ca, p)
	s := announcer(t, conn)
	if _, err := s.Write(wire.Announce{Status: wire.Active, Suffix: []string{"bomb", t.Name()}}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	v := join(t, ca, p)
	if err := v.Announced(t.Context(), false, "bomb", t.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Subscribe("bomb", t.Name()); err != nil {
		t.Fatal(err)
	}
	asked, err := conn.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 2) // the type, and an id below 64
	if _, err := io.ReadFull(asked, head); err != nil {
		t.Fatal(err)
	}
	group, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = asked.Write(answer) // either may be refused before its end
	_, _ = group.Write(append([]byte{0, head[1], 0}, frames...))
	_, _ = group.Write(make([]byte, 1000))
	wantServed(t, conn)
	if v.Lost() {
		t.Error("the viewer's session has ended")
	}
	v.Close()
}

// http3Bombs are what a hostile client sends on a connection of HTTP/3.
var http3Bombs = map[string]func(t *testing.T, conn *quic.Conn){
	"settings":           func(t *testing.T, c *quic.Conn) { sendUni(t, c, "00 04"+huge) },
	"QPACK encoder":      func(t *testing.T, c *quic.Conn) { sendUni(t, c, "02 3f ff ff ff ff ff ff ff ff 7f") },
	"push":               func(t *testing.T, c *quic.Conn) { sendUni(t, c, "01"+huge) },
	"session of streams": func(t *testing.T, c *quic.Conn) { sendUni(t, c, "40 54"+huge) },
	"unknown stream":     func(t *testing.T, c *quic.Conn) { sendUni(t, c, huge) },
	"header":             func(t *testing.T, c *quic.Conn) { sendBidi(t, c, "01"+huge) },
	"data":               func(t *testing.T, c *quic.Conn) { sendBidi(t, c, "00"+huge) },
	"unknown frame":      func(t *testing.T, c *quic.Conn) { sendBidi(t, c, "21"+huge) },
	"request of 32 KiB": func(t *testing.T, c *quic.Conn) {
		sendRequest(t, c, http.Header{"X-Long": {strings.Repeat("x", 32<<10)}}, nil)
	},
	"capsule": func(t *testing.T, c *quic.Conn) { sendRequest(t, c, nil, unhex("68 43"+huge)) },
	"unknown capsule": func(t *testing.T, c *quic.Conn) {
		sendRequest(t, c, nil, unhex(huge+huge))
	},
}

func sendUni(t *testing.T, conn *quic.Conn, bytes string) {
	t.Helper()
	s, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write(unhex(bytes)) // the relay may end it
	_, _ = s.Write(make([]byte, 1000))
}

func sendBidi(t *testing.T, conn *quic.Conn, bytes string) {
	t.Helper()
	s, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write(unhex(bytes)) // the relay may end it
	_, _ = s.Write(make([]byte, 1000))
}

// sendRequest asks for a WebTransport session and writes on its stream.
func sendRequest(t *testing.T, conn *quic.Conn, header http.Header, bytes []byte) {
	t.Helper()
	tr := &http3.Transport{EnableDatagrams: true, AdditionalSettings: map[uint64]uint64{0x2b603742: 1, 0xffd277: 1}}
	s, err := tr.NewClientConn(conn).OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = s.SendRequestHeader(&http.Request{
		Method: http.MethodConnect, Proto: "webtransport", Host: "localhost", Header: header,
		URL: &url.URL{Scheme: "https", Host: "localhost", Path: "/"},
	})
	if err != nil {
		return // the relay has ended it
	}
	resp, err := s.ReadResponse()
	if err != nil {
		t.Logf("the request was refused: %v", err)
		return
	}
	if header != nil && resp.StatusCode == http.StatusOK {
		t.Errorf("a request of 32 KiB is answered with %d", resp.StatusCode)
	}
	_, _ = s.Write(bytes) // the relay may end it
}

// bombHTTP3 holds that the connection ends in time.
func bombHTTP3(t *testing.T, ca *authority, p *process, send func(*testing.T, *quic.Conn)) {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), p.addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost", NextProtos: []string{http3.NextProtoH3}},
		&quic.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	send(t, conn)
	select {
	case <-conn.Context().Done():
	case <-time.After(promptly):
		t.Error("the connection lives")
	}
}
