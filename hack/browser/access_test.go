package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/hack/browser/devtools"
)

// axe looks for what keeps people from using a page; it comes with the packages
// that the page is built from.
const axe = "../page/node_modules/axe-core/axe.min.js"

// wantAccessible fails the test for each fault that axe finds, against WCAG 2.2
// AA and common practice.
func wantAccessible(t *testing.T, p *devtools.Page) {
	t.Helper()
	script, err := os.ReadFile(axe)
	if err != nil {
		missing(t, `axe is not there: "make page" installs it`)
	}
	p.Do(string(script) + "\n;undefined")
	var faults []struct {
		ID, Impact, Help string
		Nodes            []struct{ HTML, FailureSummary string }
	}
	err = p.Eval(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then((r) => r.violations)`, &faults)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Errorf("%s (%s): %s", f.ID, f.Impact, f.Help)
		for _, n := range f.Nodes {
			t.Logf("  %s\n  %s", n.HTML, n.FailureSummary)
		}
	}
}

// wantFit fails the test if the page is wider than its window.
func wantFit(t *testing.T, p *devtools.Page) {
	t.Helper()
	var widths [2]int
	if err := p.Eval("[document.documentElement.scrollWidth, innerWidth]", &widths); err != nil {
		t.Fatal(err)
	}
	if widths[0] > widths[1] {
		t.Errorf("the page is %d wide in a window of %d; too wide is %s", widths[0], widths[1],
			p.String(`[...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.tagName + "." + e.className).join(", ")`))
	}
}

// TestU38WorksForEverybody: every view, at rest and at work, wide, narrow, light
// and dark, has no fault that axe knows and fits its window.
func TestU38WorksForEverybody(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	looks := map[string]devtools.PageOptions{
		"light":        {},
		"dark":         {Dark: true, ReducedMotion: true},
		"narrow":       {Width: 360, Height: 740, Scale: 2},
		"narrow, dark": {Width: 360, Height: 740, Scale: 2, Dark: true, ReducedMotion: true},
	}
	publish(t, b, base, nodes[0], devtools.PageOptions{})
	for look, o := range looks {
		t.Run(look, func(t *testing.T) {
			shot := "u38-" + strings.ReplaceAll(look, ", ", "-") + "-"
			p := b.Open(t, base+"?at="+nodes[1].name, o)
			p.Until("a tile", viewTimeout, `document.querySelector(".tile")`)
			wantAccessible(t, p)
			wantFit(t, p)
			keep(t, p, shot+"home", true)

			p.Click(".tile")
			p.Until("a picture", playTimeout, `/ ms$/.test(document.querySelector("[data-value=age]")?.innerText ?? "")`)
			wantAccessible(t, p)
			wantFit(t, p)
			keep(t, p, shot+"watch", true)

			p.Go(base + "watch/demo/nothing?at=" + nodes[1].name)
			p.UntilText("is not announced at "+nodes[1].name+" yet", viewTimeout)
			wantAccessible(t, p)
			wantFit(t, p)
			keep(t, p, shot+"absent", true)

			p.Go(base + "publish?name=demo/other")
			p.Until("the form", viewTimeout, `document.querySelector("button[type=submit]")?.disabled === false`)
			wantAccessible(t, p)
			wantFit(t, p)
			keep(t, p, shot+"publish", true)
			p.Click("button[type=submit]")
			p.Until("on air", playTimeout, `document.querySelector(".on-air")?.checkVisibility()`)
			p.Do(`scrollTo(0, 0)`)
			wantAccessible(t, p)
			wantFit(t, p)
			keep(t, p, shot+"on-air", true)
		})
	}
}

// tabTo presses Tab until what has the focus is called like this.
func tabTo(t *testing.T, p *devtools.Page, called string) {
	t.Helper()
	const focused = `(() => { const e = document.activeElement; return (e.getAttribute("aria-label") ?? e.labels?.[0]?.innerText ?? e.innerText ?? "").trim().split("\n")[0]; })()`
	var seen []string
	for range 30 {
		p.Press("Tab")
		got := p.String(focused)
		if strings.HasPrefix(got, called) {
			var visible bool
			if err := p.Eval(`(() => { const e = document.activeElement, s = getComputedStyle(e), n = e.nextElementSibling; return s.outlineStyle !== "none" && s.opacity !== "0" || !!n && getComputedStyle(n).outlineStyle !== "none"; })()`, &visible); err != nil || !visible {
				t.Errorf("nothing shows that %q has the focus (%v)", called, err)
			}
			return
		}
		seen = append(seen, got)
	}
	t.Fatalf("no way to %q with Tab; it leads to %q", called, seen)
}

// TestU38KeyboardSuffices: without a mouse people find the publishing view, put
// the test card on the air, take it off, and watch with sound in another region.
func TestU38KeyboardSuffices(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	p := b.Open(t, base, devtools.PageOptions{})
	p.Until("the first view", viewTimeout, `document.querySelector(".hero")`)
	p.Press("Tab")
	if got := p.String("document.activeElement.innerText"); got != "Skip to content" {
		t.Errorf("the first Tab leads to %q", got)
	}
	tabTo(t, p, "Publish a test card")
	p.Press("Enter")
	p.Until("the publishing view, announced by its heading", viewTimeout, `document.activeElement.innerText === "Publish" && document.activeElement.tagName === "H1"`)
	tabTo(t, p, nodes[0].name)
	tabTo(t, p, "Test card")
	p.Press("ArrowDown")
	p.Until("the camera chosen, in the address too", viewTimeout, `document.querySelector("[value=camera]").checked && location.search.includes("source=camera")`)
	p.Press("ArrowUp")
	tabTo(t, p, "Name")
	tabTo(t, p, "Start publishing")
	p.Press("Enter")
	p.Until("on air", playTimeout, `document.querySelector(".on-air")?.checkVisibility()`)
	p.Until("the focus on what stops it", viewTimeout, `document.activeElement.innerText === "Stop publishing"`)

	w := b.Open(t, base+"?at="+nodes[0].name, devtools.PageOptions{})
	w.Until("a tile", viewTimeout, `document.querySelector(".tile")`)
	tabTo(t, w, nodes[0].name)
	w.Press("ArrowRight")
	w.Until("the next node, in the address too", viewTimeout, `/^\?at=.+-\d$/.test(location.search) && location.search !== "?at=`+nodes[0].name+`"`)
	w.Until("its tile", viewTimeout, `document.querySelector(".tile")`)
	tabTo(t, w, "demo/card")
	w.Press("Enter")
	w.Until("the hint", playTimeout, `document.querySelector(".unmute")?.checkVisibility()`)
	tabTo(t, w, "Unmute")
	w.Press("Enter")
	w.Until("sound", playTimeout, `Number(document.querySelector("mq-stage").dataset.peak) > 0.02`)
	w.Until("the focus on what mutes", viewTimeout, `document.activeElement.getAttribute("aria-label") === "Mute"`)
	p.Press("Enter")
	p.Until("off the air", viewTimeout, `document.activeElement.innerText === "Start publishing"`)
}

// TestU39AsksNobodyElse: all views together load at most 250 kB, and ask nobody
// but their own server and the relays.
func TestU39AsksNobodyElse(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	at, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{at.Host: true}
	for _, n := range nodes {
		u, err := url.Parse(n.url)
		if err != nil {
			t.Fatal(err)
		}
		allowed[u.Host] = true
	}
	publisher := publish(t, b, base, nodes[0], devtools.PageOptions{})
	watcher := watch(t, b, base, nodes[1], devtools.PageOptions{})
	wantPlay(t, watcher)
	total := make(map[string]int)
	for view, p := range map[string]*devtools.Page{"publish": publisher, "watch": watcher} {
		for _, asked := range p.Requests() {
			u, err := url.Parse(asked)
			switch {
			case err != nil:
				t.Fatal(err)
			case u.Scheme == "blob" || u.Scheme == "data":
			case !allowed[u.Host]:
				t.Errorf("%s: the page asks %s", view, asked)
			case u.Host == at.Host:
				total[view] += size(t, asked)
			}
		}
		for _, line := range p.Console() {
			if strings.Contains(line, "Content Security Policy") {
				t.Errorf("%s: %s", view, line)
			}
		}
		t.Logf("%s loads %d kB", view, total[view]/1000)
		if total[view] > 250_000 {
			t.Errorf("%s loads %d bytes, want at most 250000", view, total[view])
		}
	}
}

// size returns how many bytes an answer has on the wire.
func size(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip") // said here, so that it comes as it is
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(fmt.Errorf("GET %s: %s (%w)", url, resp.Status, err))
	}
	return int(n)
}
