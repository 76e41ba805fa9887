package moqlite_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moqrelay/moqrelay/relay/wire"
	"github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// A publisher's answer to ANNOUNCE_REQUEST in lite-06, read as its bytes come.
func Example() {
	stream := strings.NewReader("\x03\x43\xe8\x02" + // ANNOUNCE_OK
		"\x00\x07\x03cam\x00\x00\x00" + "\x00\x08\x03mic\x01\x07\x01\x01" + // ANNOUNCE_START, twice
		"\x01\x01\x00") // ANNOUNCE_END
	var buf []byte
	more := func() bool {
		var chunk [5]byte
		n, err := stream.Read(chunk[:])
		buf = append(buf, chunk[:n]...)
		return err != io.EOF
	}

	ok, n, err := moqlite.ConsumeAnnounceOK(buf)
	for errors.Is(err, wire.ErrShort) && more() {
		ok, n, err = moqlite.ConsumeAnnounceOK(buf)
	}
	buf = buf[n:]
	fmt.Println("hop", ok.Hop, "has", ok.Active)

	for {
		m, n, err := moqlite.Version06.ConsumeAnnounce(buf)
		switch {
		case err == nil:
			fmt.Println(m.Kind == moqlite.AnnounceStart, m.ID, m.Suffix, m.Hops, m.Warm, m.Cold)
			buf = buf[n:]
		case !errors.Is(err, wire.ErrShort):
			fmt.Println(err)
			return
		case !more():
			return
		}
	}
	// Output:
	// hop 1000 has 2
	// true 0 [cam] [] 0 0
	// true 0 [mic] [7] 1 1
	// false 0 [] [] 0 0
}
