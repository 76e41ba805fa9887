package browser

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/hack/browser/devtools"
)

// name is what the tests publish.
const name = "demo/card"

// publish starts the test card at a relay, as people do: by a click.
func publish(t *testing.T, b *devtools.Browser, base string, at node, o devtools.PageOptions) *devtools.Page {
	t.Helper()
	p := b.Open(t, base+"publish?at="+at.name+"&name="+name+"&source=card", o)
	p.Until("the form", viewTimeout, `document.querySelector("button[type=submit]")?.disabled === false`)
	p.Click("button[type=submit]")
	p.Until("on air", playTimeout, `document.querySelector(".on-air")?.checkVisibility()`)
	return p
}

// watch opens the broadcast at a relay.
func watch(t *testing.T, b *devtools.Browser, base string, at node, o devtools.PageOptions) *devtools.Page {
	t.Helper()
	return b.Open(t, base+"watch/"+name+"?at="+at.name, o)
}

// colours reads a picture's colours at the middle of each bar of the test card.
const colours = `(() => {
	const from = document.querySelector("mq-stage canvas"), c = new OffscreenCanvas(70, 40), g = c.getContext("2d");
	g.drawImage(from, 0, 0, 70, 40);
	return [...Array(7).keys()].map((i) => [...g.getImageData(i * 10 + 5, 8, 1, 1).data].slice(0, 3));
})()`

// bars are the colours that the test card has.
var bars = [7][3]int{{200, 200, 200}, {200, 200, 0}, {0, 200, 200}, {0, 200, 0}, {200, 0, 200}, {200, 0, 0}, {0, 0, 200}}

// wantCard fails the test unless the page shows the colours of the test card.
func wantCard(t *testing.T, p *devtools.Page) {
	t.Helper()
	var got [7][3]int
	if err := p.Eval(colours, &got); err != nil {
		t.Fatal(err)
	}
	for i, bar := range bars {
		for c := range bar {
			if diff := got[i][c] - bar[c]; diff > 45 || diff < -45 {
				t.Errorf("bar %d has the colour %v, want %v", i, got[i], bar)
				break
			}
		}
	}
}

// wantMotion fails the test unless the picture changes.
func wantMotion(t *testing.T, p *devtools.Page) {
	t.Helper()
	const sum = `(() => {
		const from = document.querySelector("mq-stage canvas"), c = new OffscreenCanvas(256, 144), g = c.getContext("2d");
		g.drawImage(from, 0, 0, 256, 144);
		return g.getImageData(0, 80, 256, 64).data.reduce((s, v, i) => (s * 31 + v * (i % 7)) % 1000003, 7);
	})()`
	seen := make(map[int]bool)
	for deadline := time.Now().Add(playTimeout); len(seen) < 5; {
		var s int
		if err := p.Eval(sum, &s); err != nil {
			t.Fatal(err)
		}
		seen[s] = true
		if time.Now().After(deadline) {
			t.Fatalf("%d different pictures within %v, want 5", len(seen), playTimeout)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// value reads a row of the panel beside the player.
func value(p *devtools.Page, id string) string {
	return p.String(`document.querySelector("[data-value=` + id + `]").innerText`)
}

// wantPlay waits until a page plays the test card, with sound.
func wantPlay(t *testing.T, p *devtools.Page) {
	t.Helper()
	p.Until("a picture of less than a second", playTimeout, `parseInt(document.querySelector("[data-value=age]")?.innerText) < 1000`)
	wantCard(t, p)
	wantMotion(t, p)
	p.Click("button.unmute")
	p.Until("sound", playTimeout, `Number(document.querySelector("mq-stage").dataset.peak) > 0.02`)
	t.Logf("session %s, age %s, rate %s, picture %s, buffer %s, peak %s", value(p, "session"), value(p, "age"), value(p, "rate"),
		value(p, "video"), value(p, "buffer"), p.String(`document.querySelector("mq-stage").dataset.peak`))
}

// TestU34PlaysAcrossRegions: what a page publishes in one region, a page in
// another shows and plays; it says over what, by which way, and how old it is.
func TestU34PlaysAcrossRegions(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	home := b.Open(t, base+"?at="+nodes[1].name, devtools.PageOptions{})
	home.UntilText("Nothing is announced at "+nodes[1].name, viewTimeout)

	publisher := publish(t, b, base, nodes[0], devtools.PageOptions{})
	home.Until("a tile", viewTimeout, `document.querySelector("[data-name=\"`+name+`\"]")`)
	keep(t, home, "u34-home", true)
	watcher := watch(t, b, base, nodes[1], devtools.PageOptions{})
	wantPlay(t, watcher)
	if got := value(watcher, "session"); !strings.HasSuffix(got, "over WebTransport") || !strings.HasPrefix(got, "moq-lite-") {
		t.Errorf("session %q, want moq-lite over WebTransport", got)
	}
	path := nodes[1].name + " › you"
	if os.Getenv("MOQ_BROWSER_RELAYS") == "" { // there is a status page, which knows the way
		path = nodes[0].name + " › " + path
	}
	watcher.Until("the path "+path, viewTimeout, `document.querySelector("[data-value=path]").innerText === "`+path+`"`)
	keep(t, watcher, "u34-watch", true)
	illustrate(t, watcher, "watch")
	if got := value(watcher, "region"); !strings.HasPrefix(got, nodes[1].region) {
		t.Errorf("region %q, want %s", got, nodes[1].region)
	}
	if age := regexp.MustCompile(`^(\d+) ms$`).FindStringSubmatch(value(watcher, "age")); age == nil {
		t.Errorf("age %q, want milliseconds", value(watcher, "age"))
	}
	publisher.Until("the audience", viewTimeout, `document.querySelector("[data-value=audience]").innerText === "Somebody watches"`)
	keep(t, publisher, "u34-publish", true)
	publisher.Click("button.danger")
	home.Until("the tile's end", viewTimeout, `!document.querySelector("[data-name=\"`+name+`\"]")`)
	watcher.UntilText("demo/card is not announced at "+nodes[1].name+" yet", viewTimeout)
	keep(t, watcher, "u35-absent", true)
}

// TestU34PublishesFromTheBackground: people publish, follow the link to the other
// region, which opens in front, and the test card goes on behind it.
func TestU34PublishesFromTheBackground(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	publisher := publish(t, b, base, nodes[0], devtools.PageOptions{MayHide: true})
	publisher.Click(".after a.primary")
	watcher := publisher.Opened(viewTimeout)
	began := time.Now()
	publisher.Until("the publisher behind", viewTimeout, `document.visibilityState === "hidden"`)
	watcher.Until("a picture", playTimeout, `/ ms$/.test(document.querySelector("[data-value=age]")?.innerText)`)
	t.Logf("a picture after %v, age %s", time.Since(began).Round(100*time.Millisecond), value(watcher, "age"))
	wantPlay(t, watcher)
	time.Sleep(5 * time.Second) // browsers slow a page down that has been away for a while
	watcher.Until("pictures at full rate", playTimeout, `/, 2[3-7] pictures/.test(document.querySelector("[data-value=rate]").innerText)`)
	var age int
	if err := watcher.Eval(`parseInt(document.querySelector("[data-value=age]").innerText)`, &age); err != nil || age > 1000 {
		t.Errorf("age %d ms, %v", age, err)
	}
	t.Logf("session %s, age %d ms, rate %s, visible %s", value(watcher, "session"), age, value(watcher, "rate"), publisher.String("document.visibilityState"))
}

// TestTheAddressCarriesTheState: whoever watches may go to another node, come
// back, leave by a link and return by the browser's button, and load the page
// again: what plays is what the address says.
func TestTheAddressCarriesTheState(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	publish(t, b, base, nodes[0], devtools.PageOptions{})
	p := watch(t, b, base, nodes[1], devtools.PageOptions{})
	plays := func(at node) {
		t.Helper()
		began := time.Now()
		defer func() { t.Logf("plays at %s after %v", at.name, time.Since(began).Round(100*time.Millisecond)) }()
		p.Until("the address", viewTimeout, `location.search === "?at=`+at.name+`" && location.pathname.endsWith("/watch/demo/card")`)
		p.Until("the node in the panel", viewTimeout, `document.querySelector("[data-value=region]")?.innerText.endsWith("node `+at.name+`")`)
		p.Until("the picture", playTimeout, `parseInt(document.querySelector("[data-value=age]").innerText) < 1000`)
	}
	plays(nodes[1])
	p.Click(`[value="` + nodes[0].name + `"]`)
	p.Until("the numbers gone with the session", viewTimeout, `document.querySelector("[data-value=age]").innerText === "–" || document.querySelector("mq-note[data-state]")`)
	plays(nodes[0])
	p.Do(`location.reload()`)
	plays(nodes[0])
	p.Click("nav a")
	p.Until("the list", viewTimeout, `document.querySelector("[data-name=\"demo/card\"]") && document.title.startsWith(document.querySelector(".brand span").innerText)`)
	p.Do(`history.back()`)
	plays(nodes[0])
	wantMotion(t, p)
	if title := p.String("document.title"); !strings.HasPrefix(title, name) {
		t.Errorf("the title is %q", title)
	}
}

// TestU34ShowsTheWholePath: where a status page knows where a broadcast comes
// from, the path begins there.
func TestU34ShowsTheWholePath(t *testing.T) {
	b := browser(t)
	nodes, _ := relays(t)
	base := pageWith(t, []string{"--status", "../"}, nodes...)
	const look = `globalThis.fetch = ((real) => async (u, ...rest) => new URL(u).pathname !== "/state" ? real(u, ...rest)
		: Response.json({ broadcasts: [{ broadcast: "demo/other", source: "ap-0" }, { broadcast: "demo/card", source: "eu-0" }] }))(fetch)`
	publish(t, b, base, nodes[0], devtools.PageOptions{})
	p := watch(t, b, base, nodes[1], devtools.PageOptions{Before: look})
	p.Until("the path", playTimeout, `document.querySelector("[data-value=path]")?.innerText === "eu-0 › `+nodes[1].name+` › you"`)
	if got := p.String(`document.querySelector("nav a:last-child").href`); !strings.HasSuffix(base, "/demo/") || got+"demo/" != base {
		t.Errorf("the way to the status page is %s, from %s", got, base)
	}
}

// TestU36PlaysOverWebSocket: a browser without WebTransport plays all the same,
// and says why it is over WebSocket.
func TestU36PlaysOverWebSocket(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	without := devtools.PageOptions{Before: "delete globalThis.WebTransport"}
	publisher := publish(t, b, base, nodes[0], without)
	watcher := watch(t, b, base, nodes[1], without)
	wantPlay(t, watcher)
	for what, p := range map[string]*devtools.Page{"watcher": watcher, "publisher": publisher} {
		p.UntilText("Over WebSocket, because this browser has no WebTransport", viewTimeout)
		if got := value(p, "session"); !strings.HasSuffix(got, "over WebSocket") {
			t.Errorf("%s: session %q, want it over WebSocket", what, got)
		}
	}
	keep(t, watcher, "u36-websocket", true)
}

// TestU37RecoversByItself: a relay is away for a minute; when it is back, with
// another certificate, both pages go on without a touch.
func TestU37RecoversByItself(t *testing.T) {
	t.Parallel() // with others that have their relays, or a name, to themselves: it waits for most of its time
	b := browser(t)
	port := freePort(t)
	url, r := startRelay(t, port)
	nodes := []node{{"eu-0", "eu", url}, {"us-0", "us", url}}
	base := page(t, nodes...)
	publish(t, b, base, nodes[0], devtools.PageOptions{})
	watcher := watch(t, b, base, nodes[1], devtools.PageOptions{})
	wantPlay(t, watcher)

	r.kill()
	down := time.Now()
	watcher.UntilText(nodes[1].name+" does not answer", viewTimeout)
	keep(t, watcher, "u35-unreachable", true)
	time.Sleep(time.Until(down.Add(time.Minute)))
	if words := watcher.Text(); !strings.Contains(words, "goes on trying") {
		t.Errorf("after a minute the page says:\n%s", words)
	}
	startRelay(t, port)
	back := time.Now()
	watcher.Until("the picture again", playTimeout, `/ ms$/.test(document.querySelector("[data-value=age]").innerText)`)
	t.Logf("plays %v after the relay is back, %s", time.Since(back).Round(100*time.Millisecond), value(watcher, "session"))
	wantCard(t, watcher)
	wantMotion(t, watcher)
}

// TestU2TheCommandLinePlaysAlong: the command that the page offers plays what a
// browser publishes, and a browser plays what the command line publishes.
func TestU2TheCommandLinePlaysAlong(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	publisher := publish(t, b, base, nodes[0], devtools.PageOptions{})
	words := strings.Fields(publisher.String(`document.querySelector(".after code").innerText`))
	if len(words) < 4 || words[1] != "sub" || !slices.Contains(words, name) {
		t.Fatalf("the page offers %q", words)
	}
	until := slices.Index(words, "|")
	file := filepath.Join(t.TempDir(), "out.mp4")
	sub := run(t, ours(t, "moq", append(words[1:until:until], "--duration", "3s", "-o", file)...))
	sub.wait(t)
	out, err := os.Stat(file)
	if err != nil || out.Size() < 50_000 {
		t.Errorf("of 3 s of the test card there are %v (%v)\n%s", out, err, &sub.stderr)
	}

	run(t, ours(t, "moq", "pub", nodes[0].url, "--name", "demo/clip", "--loop"))
	w := b.Open(t, base+"watch/demo/clip?at="+nodes[1].name, devtools.PageOptions{})
	w.Until("pictures", playTimeout, `/, [23]\d pictures/.test(document.querySelector("[data-value=rate]")?.innerText)`)
	wantMotion(t, w)
	w.Click("button.unmute")
	w.Until("sound", playTimeout, `Number(document.querySelector("mq-stage").dataset.peak) > 0.02`)
	t.Logf("session %s, rate %s, picture %s", value(w, "session"), value(w, "rate"), value(w, "video"))
	keep(t, w, "u2-clip", true)
}
