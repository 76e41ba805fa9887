package interop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

func TestMain(m *testing.M) {
	code := m.Run()
	board.print()
	removeOurs()
	os.Exit(code)
}

// board gathers a line for each row, printed when all have ended.
var board scoreboard

type scoreboard struct {
	mu   sync.Mutex
	rows []string
}

// add notes how a row ended, when it ends.
func (b *scoreboard) add(t *testing.T, note func() string) {
	t.Helper()
	start := time.Now()
	t.Cleanup(func() {
		result := "ok"
		switch {
		case t.Failed():
			result = "FAILED"
		case t.Skipped():
			result = "skipped"
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		name := strings.ReplaceAll(strings.TrimPrefix(t.Name(), "Test"), "_", " ")
		b.rows = append(b.rows, fmt.Sprintf("%s\t%s\t%.0f s\t%s", name, result, time.Since(start).Seconds(), note()))
	})
}

func (b *scoreboard) print() {
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.Sort(b.rows)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range b.rows {
		fmt.Fprintln(w, row)
	}
	w.Flush()
}
