package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// protocol is one that the load can speak, no more of it than the load needs.
type protocol interface {
	// token names it in ALPN.
	token() string
	// greet does what a client does before all else.
	greet(ctx context.Context, c *client) error
	// subscribe asks for the track, and returns when the relay has answered.
	subscribe(ctx context.Context, c *client) (transport.Stream, error)
	// answer serves a request of the relay, until it is over.
	answer(p *publisher, stream transport.Stream) error
	// appendGroup adds the header of a group, appendFrame that of a frame.
	appendGroup(b []byte, id, sequence uint64) []byte
	appendFrame(b []byte, f frame) []byte
	// readGroup and readFrame read what they add. A stream that is no group is
	// [errNoGroup].
	readGroup(r *groupReader) (sequence uint64, err error)
	readFrame(r *groupReader) (size int, err error)
}

// frame is what the header of a frame tells.
type frame struct {
	size  int
	delta int64 // ticks since the frame before it in the group, or since the publisher began
}

// ticks is how many of them a second has.
const ticks = 1_000_000

func protocolNames() []string {
	names := []string{transfork{}.token()}
	for v := moqlite.Version03; v <= moqlite.Version06; v++ {
		names = append(names, v.Token())
	}
	return names
}

func findProtocol(name string) (protocol, error) {
	if v, ok := moqlite.ParseToken(name); ok {
		return lite{v}, nil
	}
	if name == (transfork{}).token() {
		return transfork{}, nil
	}
	return nil, fmt.Errorf("--protocol %q: want one of %s", name, strings.Join(protocolNames(), ", "))
}
