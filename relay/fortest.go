package relay

import (
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// Introduce announces the presence of a node that is not there, as a hostile
// root would. It is for tests, and panics elsewhere.
func (r *Relay) Introduce(host string) {
	if !testing.Testing() {
		panic("BUG: Introduce outside of a test")
	}
	_, err := r.table.Announce(origin.Announcement{
		Path:   moq.NewPath("internal", "origins", host),
		Kind:   origin.Broadcast,
		Class:  origin.Local,
		Source: nowhere{},
	})
	if err != nil {
		panic(err)
	}
}

// nowhere is the source of nothing.
type nowhere struct{}

func (nowhere) Track(moq.Path) (*moq.Track, error) { return nil, moq.ErrNotFound }

// AnnounceBug announces a track whose source panics when it is asked for. It is
// for tests, and panics elsewhere.
func (r *Relay) AnnounceBug(path moq.Path) {
	if !testing.Testing() {
		panic("BUG: AnnounceBug outside of a test")
	}
	_, err := r.table.Announce(origin.Announcement{Path: path, Kind: origin.Track, Class: origin.Local, Source: bug{}})
	if err != nil {
		panic(err)
	}
}

// bug is a source with a bug.
type bug struct{}

func (bug) Track(moq.Path) (*moq.Track, error) { panic("BUG: a test") }

// Hop is the number by which other nodes know this one. It is for tests.
func (r *Relay) Hop() origin.Hop { return r.hop }
