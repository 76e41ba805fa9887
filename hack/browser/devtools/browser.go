package devtools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// callTimeout bounds one command.
const callTimeout = 30 * time.Second

// Browser is a running Chromium.
type Browser struct {
	pipe *pipe
}

// Find returns the path of Chromium, or what to do about its absence.
func Find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New(`no Chromium on the PATH: "apt-get install chromium", or name it in CHROMIUM`)
}

// arguments start a browser that draws and plays as one with a window does,
// has a camera, a microphone and a screen to share, and asks nothing of the
// outside world.
func arguments(profile string) []string {
	return []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + profile,
		"--no-sandbox", // containers and root
		"--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
		"--no-first-run", "--no-default-browser-check", "--disable-sync", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-default-apps",
		"--disable-domain-reliability", "--disable-client-side-phishing-detection", "--metrics-recording-only",
		"--disable-features=Translate,OptimizationHints,MediaRouter,AutofillServerCommunication",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--auto-accept-this-tab-capture",
		"--auto-select-desktop-capture-source=Entire screen",
	}
}

// Start runs the browser at path until the test ends. What it prints goes to
// the test's log when the test fails.
func Start(t *testing.T, path string, more ...string) *Browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "moqrelay-chromium-") //nolint:usetesting // a helper of the browser that still writes is no reason to fail
	if err != nil {
		t.Fatal(err)
	}
	theirs, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, theirAnswers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, path, append(arguments(profile), append(more, "about:blank")...)...)
	cmd.ExtraFiles = []*os.File{theirs, theirAnswers} // 3 and 4, where the browser looks for them
	cmd.WaitDelay = 5 * time.Second
	inOwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start %s: %v", path, err)
	}
	_ = theirs.Close()
	_ = theirAnswers.Close()
	b := &Browser{pipe: newPipe(commands)}
	var wg sync.WaitGroup
	wg.Go(func() { b.pipe.read(answers) })
	t.Cleanup(func() {
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		_ = b.pipe.call(stop, "", "Browser.close", nil, nil)
		done()
		_ = commands.Close()
		late := time.AfterFunc(5*time.Second, cancel)
		_ = cmd.Wait()
		late.Stop()
		cancel()
		_ = answers.Close()
		wg.Wait()
		_ = os.RemoveAll(profile)
	})
	return b
}

// Version returns what the browser calls itself.
func (b *Browser) Version(ctx context.Context) (string, error) {
	var v struct{ Product string }
	err := b.call(ctx, "", "Browser.getVersion", nil, &v)
	return v.Product, err
}

func (b *Browser) call(ctx context.Context, session, method string, params, result any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %v", callTimeout))
	defer cancel()
	return b.pipe.call(ctx, session, method, params, result)
}
