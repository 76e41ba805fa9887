package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/hack/browser/devtools"
)

// nobody returns the URL of a relay that is not there.
func nobody(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
}

// TestU35SaysWhatIsWrong: each state that people can meet is said in words, with
// what to do about it.
func TestU35SaysWhatIsWrong(t *testing.T) {
	t.Parallel() // with what waits for a relay to come back
	b := browser(t, "--host-resolver-rules=MAP page.test 127.0.0.1")
	base := page(t, node{"eu-0", "eu", nobody(t)})
	insecure := strings.Replace(base, "localhost", "page.test", 1)
	const never = `globalThis.WebTransport = class { ready = new Promise(() => {}); closed = new Promise(() => {}); close() {} };
		globalThis.WebSocket = class extends EventTarget { close() {} };
		globalThis.fetch = ((real) => (u, ...rest) => String(u.href ?? u).includes("certificate") ? new Promise(() => {}) : real(u, ...rest))(fetch);`
	cases := map[string]struct {
		reason string
		url    string
		before string
		words  []string
	}{
		"connecting": {
			reason: "a relay that has not answered yet may still do so",
			url:    base + "watch/" + name, before: never,
			words: []string{"Connecting to eu-0", "This takes a moment"},
		},
		"unreachable": {
			reason: "a relay that is not there is tried for ever",
			url:    base + "watch/" + name,
			words:  []string{"eu-0 does not answer", "goes on trying", "Does the cluster run"},
		},
		"silent": {
			reason: "a relay that says nothing for seconds is as good as away",
			url:    base + "watch/" + name, before: never,
			words: []string{"eu-0 does not answer", "goes on trying"},
		},
		"list of an unreachable relay": {
			reason: "the list is not called empty where nobody was asked",
			url:    base, words: []string{"eu-0 does not answer"},
		},
		"insecure watching": {
			reason: "on plain http browsers give no codecs",
			url:    insecure + "watch/" + name,
			words:  []string{"This page is not in a secure context", "https and on localhost", "Open localhost:"},
		},
		"insecure publishing": {
			reason: "nor cameras",
			url:    insecure + "publish",
			words:  []string{"This page is not in a secure context"},
		},
		"no WebCodecs": {
			reason: "an old browser cannot decode",
			url:    base + "watch/" + name, before: "delete globalThis.VideoDecoder",
			words: []string{"This browser cannot decode video here", "Use a current"},
		},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			p := b.Open(t, c.url, devtools.PageOptions{Before: c.before})
			for _, words := range c.words {
				p.UntilText(words, viewTimeout)
			}
			keep(t, p, "u35-"+strings.ReplaceAll(title, " ", "-"), true)
			if t.Failed() {
				t.Log(c.reason)
			}
		})
	}
}

// TestU35SaysWhyASourceDoesNotStart: a camera that people refuse, or that is not
// there, is not an end.
func TestU35SaysWhyASourceDoesNotStart(t *testing.T) {
	t.Parallel() // with what waits for a relay to come back
	b := browser(t)
	base := page(t, node{"eu-0", "eu", nobody(t)})
	cases := map[string]struct{ failure, words, remedy string }{
		"refused": {"NotAllowedError", "The browser was not allowed to use the camera", "Allow it beside the address"},
		"none":    {"NotFoundError", "There is no camera", "publish the test card"},
		"in use":  {"NotReadableError", "The camera is in use", "Close what else uses it"},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			p := b.Open(t, base+"publish?source=camera", devtools.PageOptions{
				Before: fmt.Sprintf(`navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", %q))`, c.failure),
			})
			p.Until("the form", viewTimeout, `document.querySelector("button[type=submit]")?.disabled === false`)
			p.Click("button[type=submit]")
			p.UntilText(c.words, viewTimeout)
			p.UntilText(c.remedy, viewTimeout)
			p.Until("another try", viewTimeout, `document.querySelector("button[type=submit]").disabled === false`)
		})
	}
}

// TestU35SaysThatACodecIsMissing: a broadcast of codecs that the browser lacks
// is named, with its codecs.
func TestU35SaysThatACodecIsMissing(t *testing.T) {
	b := browser(t)
	nodes, base := relays(t)
	publish(t, b, base, nodes[0], devtools.PageOptions{})
	p := watch(t, b, base, nodes[1], devtools.PageOptions{
		Before: `VideoDecoder.isConfigSupported = async (config) => ({ supported: false, config })`,
	})
	p.UntilText("This browser cannot play avc1", playTimeout)
	p.UntilText("Publish H.264 or VP9", viewTimeout)
	keep(t, p, "u35-codec", true)
}

// TestPublishesCameraAndScreen: each source of the browser reaches a watcher.
func TestPublishesCameraAndScreen(t *testing.T) {
	t.Parallel() // with what waits for a relay to come back
	b := browser(t)
	nodes, base := relays(t)
	for _, source := range []string{"camera", "screen"} {
		t.Run(source, func(t *testing.T) {
			p := b.Open(t, base+"publish?at="+nodes[0].name+"&name=demo/"+source+"&source="+source, devtools.PageOptions{})
			p.Until("the form", viewTimeout, `document.querySelector("button[type=submit]")?.disabled === false`)
			p.Click("button[type=submit]")
			p.Until("on air", playTimeout, `document.querySelector(".on-air")?.checkVisibility()`)
			w := b.Open(t, base+"watch/demo/"+source+"?at="+nodes[1].name, devtools.PageOptions{})
			w.Until("a picture", playTimeout, `document.querySelector("[data-value=video]")?.innerText.includes("×")`)
			if source == "camera" { // of the test's screen nothing moves
				wantMotion(t, w)
			}
			keep(t, w, "source-"+source, true)
		})
	}
}
