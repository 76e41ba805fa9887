package devtools

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pollInterval is the time between two looks for something to become true.
const pollInterval = 100 * time.Millisecond

// PageOptions say how a page is opened.
type PageOptions struct {
	// Width and Height of the window in CSS pixels; zero is 1280 × 800.
	Width, Height int
	// Dark asks for dark colours.
	Dark bool
	// ReducedMotion asks for little movement.
	ReducedMotion bool
	// Scale is how many real pixels a CSS pixel has; zero is 1.
	Scale float64
	// Before is JavaScript that runs before the page's own.
	Before string
	// MayHide lets the page be in the background when another is in front of it.
	// Otherwise each behaves as if it were the one that people look at.
	MayHide bool
}

// Page is an open page, with storage of its own.
type Page struct {
	t       *testing.T
	browser *Browser
	session string
	context string // its cookies and storage, and what it opens
	target  string

	mu       sync.Mutex
	requests []string // URLs, in order
	console  []string // lines, in order
	loaded   chan struct{}
}

// Open opens the page at url, and closes it when the test ends. When the test
// fails, what the page wrote to its console goes to the test's log.
func (b *Browser) Open(t *testing.T, url string, o PageOptions) *Page {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // pages are closed after the test
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("open %s: %v", url, err)
		}
	}
	var made struct {
		BrowserContextID string `json:"browserContextId"`
		TargetID         string `json:"targetId"`
		SessionID        string `json:"sessionId"`
	}
	if o.Width == 0 {
		o.Width, o.Height = 1280, 800
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	must(b.call(ctx, "", "Target.createBrowserContext", nil, &made))
	must(b.call(ctx, "", "Target.createTarget", map[string]any{
		"url": "about:blank", "browserContextId": made.BrowserContextID, "newWindow": true, "width": o.Width, "height": o.Height,
	}, &made))
	must(b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made))
	p := &Page{t: t, browser: b, session: made.SessionID, context: made.BrowserContextID, target: made.TargetID, loaded: make(chan struct{}, 1)}
	t.Cleanup(func() {
		_ = b.call(ctx, "", "Target.disposeBrowserContext", map[string]any{"browserContextId": made.BrowserContextID}, nil)
	})
	must(p.attend(url))
	must(p.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": !o.MayHide}, nil))
	must(p.call("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": o.Width, "height": o.Height, "deviceScaleFactor": o.Scale, "mobile": false,
	}, nil))
	features := []map[string]string{{"name": "prefers-color-scheme", "value": "light"}}
	if o.Dark {
		features[0]["value"] = "dark"
	}
	if o.ReducedMotion {
		features = append(features, map[string]string{"name": "prefers-reduced-motion", "value": "reduce"})
	}
	must(p.call("Emulation.setEmulatedMedia", map[string]any{"features": features}, nil))
	if o.Before != "" {
		must(p.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": o.Before}, nil))
	}
	p.Go(url)
	return p
}

// attend listens to the page, which is called title in the test's log.
func (p *Page) attend(title string) error {
	p.browser.pipe.on(p.session, p.event)
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("console of %s:\n%s", title, strings.Join(p.Console(), "\n"))
		}
	})
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		if err := p.call(domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// Opened returns the page that this one has opened in a tab of its own.
func (p *Page) Opened(within time.Duration) *Page {
	p.t.Helper()
	ctx := context.WithoutCancel(p.t.Context())
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(pollInterval) {
		var all struct {
			TargetInfos []struct{ TargetID, Type, URL, BrowserContextID string }
		}
		if err := p.browser.call(ctx, "", "Target.getTargets", nil, &all); err != nil {
			p.t.Fatal(err)
		}
		for _, target := range all.TargetInfos {
			if target.Type != "page" || target.BrowserContextID != p.context || target.TargetID == p.target {
				continue
			}
			opened := &Page{t: p.t, browser: p.browser, context: p.context, target: target.TargetID, loaded: make(chan struct{}, 1)}
			var made struct {
				SessionID string `json:"sessionId"`
			}
			err := p.browser.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &made)
			opened.session = made.SessionID
			if err == nil {
				err = opened.attend(target.URL)
			}
			if err != nil {
				p.t.Fatal(err)
			}
			return opened
		}
	}
	p.t.Fatalf("the page opens no other within %v", within)
	return nil
}

// Go leads the page to url and waits until it has loaded.
func (p *Page) Go(url string) {
	p.t.Helper()
	var to struct{ ErrorText string }
	select {
	case <-p.loaded:
	default:
	}
	if err := p.call("Page.navigate", map[string]any{"url": url}, &to); err != nil || to.ErrorText != "" {
		p.t.Fatalf("open %s: %s (%v)", url, to.ErrorText, err)
	}
	select {
	case <-p.loaded:
	case <-time.After(callTimeout):
		p.t.Fatalf("open %s: not loaded within %v", url, callTimeout)
	}
}

func (p *Page) call(method string, params, result any) error {
	return p.browser.call(context.WithoutCancel(p.t.Context()), p.session, method, params, result)
}

// event notes what a test may ask for later.
func (p *Page) event(method string, params []byte) {
	var e struct {
		Request          struct{ URL string } `json:"request"`
		URL              string               `json:"url"`
		Type             string               `json:"type"`
		Args             []remote             `json:"args"`
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails exception
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case "Network.webSocketCreated", "Network.webTransportCreated":
		p.requests = append(p.requests, e.URL)
	case "Runtime.consoleAPICalled":
		words := make([]string, len(e.Args))
		for i, a := range e.Args {
			words[i] = a.String()
		}
		p.console = append(p.console, e.Type+": "+strings.Join(words, " "))
	case "Log.entryAdded":
		p.console = append(p.console, e.Entry.Level+": "+e.Entry.Text+" "+e.Entry.URL)
	case "Runtime.exceptionThrown":
		p.console = append(p.console, "exception: "+e.ExceptionDetails.String())
	}
}

// remote is a value in the page.
type remote struct {
	Value       json.RawMessage
	Description string
}

func (r remote) String() string {
	if r.Description != "" {
		return r.Description
	}
	var s string
	if json.Unmarshal(r.Value, &s) == nil {
		return s
	}
	return string(r.Value)
}

// exception is what a script threw.
type exception struct {
	Text      string
	Exception remote
}

func (e exception) String() string { return strings.TrimSpace(e.Text + " " + e.Exception.String()) }

// Requests returns the URLs that the page has asked for so far.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Console returns what the page has written to its console so far.
func (p *Page) Console() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.console)
}

// Eval runs a JavaScript expression, awaits it, and reads its value into
// result, unless that is nil.
func (p *Page) Eval(expression string, result any) error {
	var got struct {
		Result           remote
		ExceptionDetails *exception
	}
	err := p.call("Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	}, &got)
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return fmt.Errorf("the page: %s", got.ExceptionDetails)
	case result == nil:
		return nil
	}
	if len(got.Result.Value) == 0 {
		return fmt.Errorf("%.80s is undefined", expression)
	}
	return json.Unmarshal(got.Result.Value, result)
}

// Do runs a JavaScript expression and awaits it.
func (p *Page) Do(expression string) {
	p.t.Helper()
	if err := p.Eval(expression, nil); err != nil {
		p.t.Fatalf("%.200s: %v", expression, err)
	}
}

// String returns the value of a JavaScript expression that is a text.
func (p *Page) String(expression string) string {
	p.t.Helper()
	var s string
	if err := p.Eval(expression, &s); err != nil {
		p.t.Fatalf("%.200s: %v", expression, err)
	}
	return s
}

// Text returns the visible words of the page.
func (p *Page) Text() string { p.t.Helper(); return p.String("document.body.innerText") }

// Until waits until a JavaScript expression is true.
func (p *Page) Until(why string, within time.Duration, expression string) {
	p.t.Helper()
	deadline := time.Now().Add(within)
	for {
		var is bool
		err := p.Eval("!!("+expression+")", &is)
		if err == nil && is {
			return
		}
		if time.Now().After(deadline) {
			var text string
			_ = p.Eval("document.body.innerText", &text)
			p.t.Fatalf("%s: not within %v (%v); the page says:\n%s", why, within, err, text)
		}
		time.Sleep(pollInterval)
	}
}

// UntilText waits until the page shows these words.
func (p *Page) UntilText(words string, within time.Duration) {
	p.t.Helper()
	quoted, err := json.Marshal(words)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Until("the words "+string(quoted), within, "document.body.innerText.includes("+string(quoted)+")")
}

// keys are the keys that write nothing, by name.
var keys = map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}

// Press presses and releases a key: Tab, Shift+Tab, Enter, Escape, Arrow…, a
// space or a letter.
func (p *Page) Press(key string) {
	p.t.Helper()
	modifiers := 0
	if rest, ok := strings.CutPrefix(key, "Shift+"); ok {
		key, modifiers = rest, 8
	}
	press := map[string]any{"type": "keyDown", "key": key, "code": key, "modifiers": modifiers, "windowsVirtualKeyCode": keys[key]}
	switch {
	case key == "Enter":
		press["text"] = "\r"
	case key == " ":
		press["text"], press["code"] = key, "Space"
	case len(key) == 1:
		press["text"], press["code"], press["windowsVirtualKeyCode"] = key, "Key"+strings.ToUpper(key), int(strings.ToUpper(key)[0])
	}
	err := p.call("Input.dispatchKeyEvent", press, nil)
	if err == nil {
		press["type"] = "keyUp"
		delete(press, "text")
		err = p.call("Input.dispatchKeyEvent", press, nil)
	}
	if err != nil {
		p.t.Fatalf("press %q: %v", key, err)
	}
}

// Screenshot returns a PNG of the window, or of the whole page.
func (p *Page) Screenshot(whole bool) []byte {
	p.t.Helper()
	var shot struct{ Data string }
	if err := p.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &shot); err != nil {
		p.t.Fatalf("screenshot: %v", err)
	}
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatalf("screenshot: %v", err)
	}
	return png
}

// Click moves the mouse onto the first element that a CSS selector matches,
// and clicks.
func (p *Page) Click(selector string) {
	p.t.Helper()
	var at struct{ X, Y float64 }
	quoted, err := json.Marshal(selector)
	if err == nil {
		err = p.Eval(`(() => {
			const e = document.querySelector(`+string(quoted)+`);
			e.scrollIntoView({block: "center", behavior: "instant"});
			const r = e.getBoundingClientRect();
			return {X: r.x + r.width / 2, Y: r.y + r.height / 2};
		})()`, &at)
	}
	for _, what := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		if err == nil {
			err = p.call("Input.dispatchMouseEvent", map[string]any{"type": what, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
		}
	}
	if err != nil {
		p.t.Fatalf("click %s: %v", selector, err)
	}
}
