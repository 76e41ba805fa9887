package suite

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A kind of event says what watchers may notice of it.
type kind string

const (
	// planned is what people and controllers do all day: no group may be lost.
	planned kind = "planned"
	// unplanned is what breaks: media has to flow again within flowsAgain.
	unplanned kind = "unplanned"
)

// flowsAgain is how long watchers may see nothing after something broke.
const flowsAgain = 3 * time.Second

// A result is one event as the watchers saw it.
type result struct {
	event string
	kind  kind
	loss  Loss
	took  time.Duration
	// lossy is why groups are lost in a planned event, where we know and accept it.
	lossy string
	// slow is why media flows again later than flowsAgain, where we know and accept it.
	slow string
	// broken is why the event itself did not go as it should.
	broken string
}

// verdict says whether the event went as it should, and ok is whether it did.
func (r result) verdict() (words string, ok bool) {
	switch {
	case r.broken != "":
		return "FAILED: " + r.broken, false
	case r.loss.Gap > flowsAgain && r.slow != "":
		return "accepted: " + r.slow, true
	case r.loss.Gap > flowsAgain:
		return fmt.Sprintf("FAILED: silent for over %v", flowsAgain), false
	case r.kind == planned && r.loss.Groups > 0 && r.lossy == "":
		return "FAILED: groups lost", false
	case r.kind == planned && r.loss.Groups > 0:
		return "accepted: " + r.lossy, true
	case r.kind == unplanned:
		return fmt.Sprintf("flows again within %v", flowsAgain), true
	default:
		return "nothing lost", true
	}
}

var columns = []string{"event", "kind", "groups lost", "longest gap", "took", "verdict"}

func (r result) cells() []string {
	words, _ := r.verdict()
	return []string{
		r.event, string(r.kind), strconv.Itoa(r.loss.Groups),
		strconv.FormatInt(r.loss.Gap.Milliseconds(), 10) + " ms",
		fmt.Sprintf("%.1f s", r.took.Seconds()), words,
	}
}

// table returns the results as aligned text.
func table(results []result) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, r := range results {
		fmt.Fprintln(w, strings.Join(r.cells(), "\t"))
	}
	_ = w.Flush() // into memory
	return b.String()
}

// markdown returns the results as a table of a document.
func markdown(results []result) string {
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(columns)
	row(strings.Split(strings.Repeat("---,", len(columns)-1)+"---", ","))
	for _, r := range results {
		row(r.cells())
	}
	return b.String()
}

// Between these lines stands what a run has measured.
const (
	tableBegins = "<!-- measured: begin -->\n"
	tableEnds   = "<!-- measured: end -->\n"
)

// keep writes what was measured into a document, in place of what stands there.
func keep(file, text string) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(document), tableBegins)
	_, after, closed := strings.Cut(rest, tableEnds)
	if !ok || !closed {
		return fmt.Errorf("%s lacks the lines %q and %q", file, tableBegins, tableEnds)
	}
	return os.WriteFile(file, []byte(before+tableBegins+"\n"+text+"\n"+tableEnds+after), 0o644)
}
