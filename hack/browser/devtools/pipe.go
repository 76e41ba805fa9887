package devtools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// errEnded is why calls fail once the browser has ended.
var errEnded = errors.New("the browser has ended")

// message is a command, its answer, or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *callError      `json:"error,omitempty"`
}

// incoming is a message whose parameters are not read yet.
type incoming struct {
	message
	Params json.RawMessage `json:"params"`
}

// callError is what the browser refused.
type callError struct {
	Message string `json:"message"`
	Data    string `json:"data"`
}

func (e *callError) Error() string {
	if e.Data == "" {
		return e.Message
	}
	return e.Message + ": " + e.Data
}

// pipe carries messages, each closed by a zero byte.
type pipe struct {
	write io.Writer

	mu      sync.Mutex
	last    int
	waiting map[int]chan incoming           // by id of the command
	events  map[string]func(string, []byte) // by session
	ended   bool
}

func newPipe(w io.Writer) *pipe {
	return &pipe{write: w, waiting: make(map[int]chan incoming), events: make(map[string]func(string, []byte))}
}

// read takes in what the browser says until it ends.
func (p *pipe) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		raw, err := in.ReadBytes(0)
		if err != nil {
			break
		}
		var m incoming
		if json.Unmarshal(bytes.TrimSuffix(raw, []byte{0}), &m) == nil {
			p.take(m)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for id, answer := range p.waiting {
		delete(p.waiting, id)
		close(answer)
	}
}

func (p *pipe) take(m incoming) {
	p.mu.Lock()
	answer, event := p.waiting[m.ID], p.events[m.Session]
	delete(p.waiting, m.ID)
	p.mu.Unlock()
	switch {
	case m.ID != 0 && answer != nil:
		answer <- m // has room for one
	case m.ID == 0 && event != nil:
		event(m.Method, m.Params)
	}
}

// on has f called, one at a time, for each event of a session.
func (p *pipe) on(session string, f func(method string, params []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events[session] = f
}

// call runs a command and reads its answer into result, unless that is nil.
func (p *pipe) call(ctx context.Context, session, method string, params, result any) error {
	answer := make(chan incoming, 1) // the reader never waits for who asked
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return errEnded
	}
	p.last++
	id := p.last
	p.waiting[id] = answer
	raw, err := json.Marshal(message{ID: id, Session: session, Method: method, Params: params})
	if err == nil {
		_, err = p.write.Write(append(raw, 0))
	}
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, errEnded)
		case m.Error != nil:
			return fmt.Errorf("%s: %w", method, m.Error)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}
