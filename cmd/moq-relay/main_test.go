package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/relay/session"
)

// asRelay makes the test binary be the command: tests run real relays without
// having to build one.
const asRelay = "MOQRELAY_TEST_AS_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(asRelay) != "" {
		session.PanicsAreFatal = false // as in any program
		go func() {                    // a relay ends with the test that started it, however that ends
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		os.Exit(run(os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
	}
	if err := noteTier(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Nearly all of what the tests do is to wait.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// noteTier notes that relays run as processes, for the last line of a test run.
func noteTier() error {
	name := os.Getenv("MOQ_TIERS_FILE")
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, "tier 1"); err != nil {
		return err
	}
	return f.Close()
}
