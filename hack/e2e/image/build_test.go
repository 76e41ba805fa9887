package image

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Images of real programs hold what they say, and their programs run anywhere.
func TestBuild(t *testing.T) {
	dir := t.TempDir()
	o := Options{Source: "../../..", Dir: dir, Log: slog.New(slog.DiscardHandler)}
	images := append(Products(release)[:1], Variants(release)...)
	built, err := Build(t.Context(), o, images...)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range []struct{ archive, says string }{
		{"moq-relay_v0.1.0.tar", "moq-relay v0.1.0"},
		{"moq-relay_v0.1.0-next.tar", "moq-relay v0.1.0-next"},
		{"moq-relay_v0.1.0-broken.tar", "moq-relay: this build does not start, on purpose"},
	} {
		t.Run(want.archive, func(t *testing.T) {
			i := images[at]
			if got := built[at]; got.Path != filepath.Join(dir, want.archive) {
				t.Errorf("written to %s, want %s", got.Path, want.archive)
			}
			files := readImage(t, built[at])
			for _, f := range i.Files() {
				if _, ok := files[strings.TrimPrefix(f, "/")]; !ok {
					t.Errorf("%s is not in the image", f)
				}
			}
			program := files[i.Name].data
			info, err := buildinfo.Read(bytes.NewReader(program))
			if err != nil {
				t.Fatal(err)
			}
			bill := files[strings.TrimPrefix(i.SBOM(), "/")].data
			checkSPDX(t, parse[spdx](t, bill))
			checkModules(t, parse[spdx](t, bill), info)
			if beside, err := os.ReadFile(filepath.Join(dir, i.billName(Host()))); err != nil || !bytes.Equal(beside, bill) {
				t.Errorf("the bill of materials beside the archive (%v) is not the one in it", err)
			}
			checkStatic(t, program)
			if got := runProgram(t, program, "--version"); !strings.HasPrefix(got, want.says+"\n") {
				t.Errorf("--version printed %q, want %q", got, want.says)
			}
		})
	}
}

// The Dockerfile's way to a bill of materials gives the same.
func TestWriteBill(t *testing.T) {
	o := Options{Source: "../../..", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	relay := Products(release)[0]
	built, err := Build(t.Context(), o, relay)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	files := readImage(t, built[0])
	bill := strings.TrimPrefix(relay.SBOM(), "/")
	for name, f := range files {
		if path := filepath.Join(root, name); !strings.HasSuffix(name, "/") && name != bill {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := WriteBill(relay, root, "../../.."); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, bill))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(files[bill].data), string(got)); diff != "" {
		t.Errorf("bill of materials (-in the archive +written beside the files):\n%s", diff)
	}
}

// Pack takes programs that others built.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "program")
	i := New("example.test/cmd/thing", "registry.test/thing", "A thing.", release)
	program, err := compile(t.Context(), "../../..", Variants(release)[1], Host(), binary)
	if err != nil {
		t.Fatal(err)
	}
	built, err := Pack(i, binary, Options{Source: "../../..", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := readImage(t, built)["thing"].data; !bytes.Equal(got, program) {
		t.Error("/thing in the image is not the program given")
	}
	if _, err := Pack(i, "build_test.go", Options{Source: "../../..", Dir: dir}); err == nil {
		t.Error("a text was taken for a program")
	}
}

// readImage returns the files of an archive with one platform.
func readImage(t *testing.T, b Built) map[string]entry {
	t.Helper()
	f, err := os.Open(b.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blobs := readTar(t, f)
	all := parse[index](t, blob(t, blobs, descriptor{Digest: b.Digest, Size: len(blobs["blobs/sha256/"+strings.TrimPrefix(b.Digest, "sha256:")].data)}))
	if len(all.Manifests) != 1 || *all.Manifests[0].Platform != Host() {
		t.Fatalf("platforms: %+v, want %s alone", all.Manifests, Host())
	}
	m := parse[manifest](t, blob(t, blobs, all.Manifests[0]))
	return readTar(t, bytes.NewReader(gunzip(t, blob(t, blobs, m.Layers[0]))))
}

// checkStatic checks that a program needs no library and no loader.
func checkStatic(t *testing.T, program []byte) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program wants a loader, which the image does not have")
		}
	}
}

// runProgram returns what a program prints; how it ends is its own business.
func runProgram(t *testing.T, program []byte, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return string(out)
}
