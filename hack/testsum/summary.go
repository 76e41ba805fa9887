package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// test is one test or subtest that has started.
type test struct {
	output   []string
	hasChild bool // subtests are counted in place of their parent,
	failed   bool // unless it failed on its own
}

// summary gathers events; it counts each test without subtests once, and a
// package that failed outside any test, say to build, as one failure.
type summary struct {
	out                     io.Writer
	passed, failed, skipped int

	tests    map[string]map[string]*test // running, by package and name
	output   map[string][]string         // of packages and builds
	counts   map[string]int              // tests that ended, by package
	failures map[string]int              // tests that failed, by package
	skips    map[string][]string         // tests by their reason
}

func newSummary(out io.Writer) *summary {
	return &summary{
		out:      out,
		tests:    make(map[string]map[string]*test),
		output:   make(map[string][]string),
		counts:   make(map[string]int),
		failures: make(map[string]int),
		skips:    make(map[string][]string),
	}
}

// read takes events until the stream ends. A line that is no event is passed
// on as it is.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(s.out, line)
			} else {
				s.add(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events of go test: %w", err)
		}
	}
}

func (s *summary) add(e event) {
	switch {
	case e.Action == "build-output":
		s.output[e.ImportPath] = append(s.output[e.ImportPath], e.Output)
	case e.Test != "":
		s.addTest(e)
	case e.Action == "output":
		s.output[e.Package] = append(s.output[e.Package], e.Output)
	case e.Action == "pass", e.Action == "fail", e.Action == "skip":
		s.endPackage(e)
	}
}

func (s *summary) addTest(e event) {
	running := s.tests[e.Package]
	if running == nil {
		running = make(map[string]*test)
		s.tests[e.Package] = running
	}
	t := running[e.Test]
	if t == nil {
		t = new(test)
		running[e.Test] = t
		if parent, ok := running[parentOf(e.Test)]; ok {
			parent.hasChild = true
		}
	}
	switch e.Action {
	case "output":
		if !isFraming(e.Output) {
			t.output = append(t.output, e.Output)
		}
	case "pass", "skip", "fail":
		s.endTest(e, t)
		delete(running, e.Test)
	}
}

func (s *summary) endTest(e event, t *test) {
	parent := s.tests[e.Package][parentOf(e.Test)]
	switch e.Action {
	case "fail":
		if parent != nil {
			parent.failed = true
		}
		if t.failed { // by a subtest, which was counted
			fmt.Fprint(s.out, strings.Join(t.output, ""))
			return
		}
		s.failed++
		s.failures[e.Package]++
		fmt.Fprintf(s.out, "FAIL %s %s (%.2fs)\n%s", short(e.Package), e.Test, e.Elapsed, strings.Join(t.output, ""))
	case "skip":
		s.skipped++
		reason := strings.Join(strings.Fields(strings.Join(t.output, "")), " ")
		// The place that skipped is of no interest: reasons alike are one.
		if _, after, ok := strings.Cut(reason, ".go:"); ok {
			_, reason, _ = strings.Cut(after, ": ")
		}
		s.skips[reason] = append(s.skips[reason], short(e.Package)+" "+e.Test)
	default:
		if t.hasChild {
			return
		}
		s.passed++
	}
	s.counts[e.Package]++
}

func (s *summary) endPackage(e event) {
	switch e.Action {
	case "skip": // no test files
	case "fail":
		s.failPackage(e)
	default:
		cached := ""
		if slices.ContainsFunc(s.output[e.Package], func(line string) bool { return strings.Contains(line, "\t(cached)") }) {
			cached = ", cached"
		}
		if n := s.counts[e.Package]; n > 0 {
			fmt.Fprintf(s.out, "ok   %-44s %4d tests %7.2fs%s\n", short(e.Package), n, e.Elapsed, cached)
		}
	}
}

// failPackage shows what a failed package said outside of tests that failed:
// the errors of its build, a panic, a race, a leaked goroutine, a time-out.
func (s *summary) failPackage(e event) {
	own := slices.DeleteFunc(s.output[e.Package], isFraming)
	own = append(slices.Clone(s.output[e.FailedBuild]), own...)
	// Tests that never ended were cut short by a panic or a time-out.
	for _, name := range slices.Sorted(maps.Keys(s.tests[e.Package])) {
		own = append(own, fmt.Sprintf("unfinished: %s\n", name))
		own = append(own, s.tests[e.Package][name].output...)
	}
	if s.failures[e.Package] == 0 {
		s.failed++
	}
	fmt.Fprintf(s.out, "FAIL %-44s %4d tests %7.2fs\n%s", short(e.Package), s.counts[e.Package], e.Elapsed, strings.Join(own, ""))
}

// finish prints the end of the report and says whether the run was good.
func (s *summary) finish(tiers map[string]bool, want []string, strict bool) bool {
	reasons := slices.Sorted(maps.Keys(s.skips))
	for _, reason := range reasons {
		names := s.skips[reason]
		fmt.Fprintf(s.out, "skip %s", names[0])
		if len(names) > 1 {
			fmt.Fprintf(s.out, " and %d more", len(names)-1)
		}
		fmt.Fprintf(s.out, ": %s\n", reason)
	}
	good := s.failed == 0
	for _, tier := range want {
		if tiers[tier] {
			continue
		}
		fmt.Fprintf(s.out, "tier %s did not run\n", tier)
		if strict {
			good = false
		}
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	fmt.Fprintf(s.out, "tiers: %s\n", strings.Join(slices.Sorted(maps.Keys(tiers)), " "))
	return good
}

// parentOf returns the test that a subtest is part of, "" for a top one.
func parentOf(name string) string {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)]
}

// isFraming reports whether a line is about the run and not from the test.
func isFraming(line string) bool {
	line = strings.TrimLeft(line, " ")
	for _, prefix := range []string{"=== ", "--- ", "FAIL\t", "FAIL\n", "PASS\n", "ok  \t", "exit status "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// short drops the module from an import path.
func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/moqrelay/moqrelay/")
}
