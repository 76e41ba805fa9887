package follow

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// A splice is one group, put together from the copies that feeds deliver of it.
// All copies of a group are the same, so whichever is ahead gives the next frame.
type splice struct {
	// Static after construction.
	number uint64
	writer *moq.GroupWriter

	mu     sync.Mutex
	frames int // written
	over   bool

	// Guarded by track.mu.
	readers  int       // feeds that deliver it
	orphaned time.Time // when the last one stopped in the middle
}

// copy writes what a reader delivers that is not there yet. It returns nil when
// the group is whole.
func (s *splice) copy(ctx context.Context, g *moq.GroupReader) error {
	for i := 0; ; i++ {
		frame, err := g.NextFrame(ctx)
		if errors.Is(err, io.EOF) {
			return s.finish(i)
		}
		if err != nil {
			return err
		}
		if err := s.write(i, frame); err != nil {
			return err
		}
	}
}

// errOver is why a copy is not read on: the group is whole or was given up.
var errOver = errors.New("the group is over")

func (s *splice) write(i int, frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return errOver
	case i < s.frames:
		return nil
	}
	s.frames++
	return s.writer.WriteFrame(frame)
}

func (s *splice) finish(frames int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || frames < s.frames {
		return errOver
	}
	s.over = true
	return s.writer.Finish()
}

// abort gives the group up.
func (s *splice) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		s.writer.Abort(moq.ErrTruncated)
	}
}
