package moq

import "io"

// FrameWriter takes the payload of one frame. See [GroupWriter.NewFrame].
type FrameWriter struct {
	writer *GroupWriter
	piece  *piece
	used   int    // bytes of piece
	rest   uint64 // bytes of the payload to come
}

// ReadFrom reads the rest of the payload from r, and no more, straight into the
// buffer that readers share. If r ends before, it returns
// [io.ErrUnexpectedEOF].
func (f *FrameWriter) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for empty := 0; f.rest > 0; {
		buf, err := f.room()
		if err != nil {
			return total, err
		}
		n, readErr := r.Read(buf)
		total += int64(n)
		if err := f.commit(n); err != nil {
			return total, err
		}
		if n > 0 {
			empty = 0
		} else if empty++; empty == 100 && readErr == nil {
			readErr = io.ErrNoProgress
		}
		if readErr == io.EOF && f.rest > 0 {
			return total, io.ErrUnexpectedEOF
		}
		if readErr != nil && f.rest > 0 {
			return total, readErr
		}
	}
	return total, nil
}

// Write copies p behind what was written. More than the declared size is an
// error that aborts the group.
func (f *FrameWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > f.rest {
		err := &EndError{Reason: Malformed, Detail: "a frame is longer than its size"}
		f.writer.Abort(err)
		return 0, err
	}
	total := 0
	for total < len(p) {
		buf, err := f.room()
		if err != nil {
			return total, err
		}
		n := copy(buf, p[total:])
		if err := f.commit(n); err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// room returns a buffer for what comes next of the payload, never empty.
func (f *FrameWriter) room() ([]byte, error) {
	if f.used < len(f.piece.buf) {
		return f.piece.buf[f.used:], nil
	}
	w, received := f.writer, f.piece.size-f.rest
	size := min(f.rest, max(minNextPiece, min(received, maxNextPiece)))
	if err := w.reserve(int(size)); err != nil {
		return nil, err
	}
	p := f.piece.nextPiece(int(size), size == f.rest)

	t := w.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := w.writableLocked(); err != nil {
		return nil, err
	}
	w.appendLocked(p)
	f.piece, f.used = p, 0
	return p.buf, nil
}

func (f *FrameWriter) commit(n int) error {
	f.used += n
	f.rest -= uint64(n)
	if n == 0 {
		return nil
	}
	return f.writer.commit(f.piece, n)
}
