package session

import (
	"fmt"
	"runtime/debug"
	"testing"
)

// PanicError is a panic in a goroutine of a session.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns what the panic said.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// PanicsAreFatal is the switch between the two things that a panic in a session
// can do. In a program it ends the session, which is counted and logged, and
// every other session lives on. In a test, of whichever package, it ends the
// test as any panic does, so that no bug hides behind this. It is for tests of
// the switch itself to change.
var PanicsAreFatal = testing.Testing()

// Guard calls f and returns a [*PanicError] if f panics.
func Guard(f func()) (err error) {
	if PanicsAreFatal {
		f()
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	f()
	return nil
}
