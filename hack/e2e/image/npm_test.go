package image

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBillNamesWhatThePageIsMadeOf holds that packages of npm are in the bill of a
// program that has the page, with license and hash, and in no other.
func TestBillNamesWhatThePageIsMadeOf(t *testing.T) {
	const list = "# Licenses\n\n## @moq/net - 0.2.8 ((MIT OR Apache-2.0))\n\n## zod - 4.6.7 (MIT)\n\nText.\n"
	hash := "sha512-" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 64)))
	lock := `{"packages": {"": {"version": "0.0.0"},
		"node_modules/zod": {"version": "4.6.7", "integrity": "` + hash + `"},
		"node_modules/@moq/watch/node_modules/@moq/net": {"version": "0.2.8", "integrity": "` + hash + `"}}}`
	source := t.TempDir()
	put(t, source, pageLicenses, list)
	put(t, source, pageLock, lock)

	with, err := bundled(source, []byte("\x7fELF…"+list+"…"))
	if err != nil {
		t.Fatal(err)
	}
	i := Products(release)[0]
	files := relayContents(i)[0].files
	b, err := bill(i, Host(), files, linkedInfo(), with)
	if err != nil {
		t.Fatal(err)
	}
	doc := parse[spdx](t, b)
	checkSPDX(t, doc)
	found := map[string]string{}
	for _, p := range doc.Packages {
		if strings.HasPrefix(p.SPDXID, "SPDXRef-Npm-") {
			found[p.ExternalRefs[0].Locator] = p.LicenseDeclared + " " + p.Checksums[0].Value
		}
	}
	sum := strings.Repeat("78", 64)
	if len(found) != 2 || found["pkg:npm/%40moq/net@0.2.8"] != "(MIT OR Apache-2.0) "+sum || found["pkg:npm/zod@4.6.7"] != "MIT "+sum {
		t.Errorf("packages of npm: %v", found)
	}

	if without, err := bundled(source, []byte("\x7fELF…")); err != nil || len(without) != 0 {
		t.Errorf("a program without the page has %v, %v", without, err)
	}
	if never, err := bundled(t.TempDir(), []byte("\x7fELF…")); err != nil || len(never) != 0 {
		t.Errorf("where no page was built there is %v, %v", never, err)
	}
	put(t, source, pageLock, strings.Replace(lock, "4.6.7", "4.6.8", 1))
	if _, err := bundled(source, []byte(list)); err == nil || !strings.Contains(err.Error(), "zod 4.6.7") {
		t.Errorf("a package that is not pinned: %v", err)
	}
}

func put(t *testing.T, root, path, text string) {
	t.Helper()
	file := filepath.Join(root, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
