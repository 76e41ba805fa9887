package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var release = Release{
	Version:  "v0.1.0",
	Revision: "0123456789abcdef0123456789abcdef01234567",
	Created:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
}

// relayContents are what the relay's image could hold, on two platforms.
func relayContents(i Image) []content {
	var contents []content
	for _, p := range Published() {
		contents = append(contents, content{platform: p, files: []file{
			{i.Program(), 0o755, []byte("program for " + p.String())},
			{i.SBOM(), 0o644, []byte("{}")},
			{licensePath, 0o644, []byte("terms")},
			{caPath, 0o644, []byte("authorities")},
		}})
	}
	return contents
}

func TestArchiveIsAnOCILayout(t *testing.T) {
	relay := Products(release)[0]
	var b bytes.Buffer
	digest, err := relay.archive(&b, relayContents(relay))
	if err != nil {
		t.Fatal(err)
	}
	blobs := readTar(t, &b)

	if got, want := string(blobs["oci-layout"].data), `{"imageLayoutVersion":"1.0.0"}`; got != want {
		t.Errorf("oci-layout = %s, want %s", got, want)
	}
	for name, blob := range blobs {
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && sum(blob.data) != "sha256:"+hex {
			t.Errorf("%s holds %s", name, sum(blob.data))
		}
	}

	top := parse[index](t, blobs["index.json"].data)
	wantNames := map[string]string{
		"io.containerd.image.name":          "ghcr.io/moqrelay/moq-relay:v0.1.0",
		"org.opencontainers.image.ref.name": "v0.1.0",
	}
	if len(top.Manifests) != 1 || top.Manifests[0].Digest != digest {
		t.Fatalf("index.json lists %+v, want the image %s alone", top.Manifests, digest)
	}
	if diff := cmp.Diff(wantNames, top.Manifests[0].Annotations); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}

	image := parse[index](t, blob(t, blobs, top.Manifests[0]))
	var platforms []Platform
	for _, d := range image.Manifests {
		platforms = append(platforms, *d.Platform)
		m := parse[manifest](t, blob(t, blobs, d))
		checkConfig(t, relay, *d.Platform, parse[config](t, blob(t, blobs, m.Config)), gunzip(t, blob(t, blobs, m.Layers[0])))
	}
	if diff := cmp.Diff(Published(), platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// checkConfig checks what the image of one platform says of itself, and its layer.
func checkConfig(t *testing.T, i Image, p Platform, c config, raw []byte) {
	t.Helper()
	want := config{
		Created:  "2026-01-02T03:04:05Z",
		Platform: p,
		Config: runConfig{
			User:         "65532:65532",
			ExposedPorts: map[string]struct{}{"443/udp": {}, "443/tcp": {}},
			Entrypoint:   []string{"/moq-relay"},
			WorkingDir:   "/",
			Labels: map[string]string{
				"org.opencontainers.image.title":       "moq-relay",
				"org.opencontainers.image.description": i.Description,
				"org.opencontainers.image.source":      "https://github.com/moqrelay/moqrelay",
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.version":     "v0.1.0",
				"org.opencontainers.image.revision":    release.Revision,
			},
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{sum(raw)}},
		History: []history{{Created: "2026-01-02T03:04:05Z", CreatedBy: i.Package}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("config for %s (-want +got):\n%s", p, diff)
	}

	entries := readTar(t, bytes.NewReader(raw))
	wantEntries := []string{
		"LICENSE", "etc/", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt", "moq-relay",
		"usr/", "usr/share/", "usr/share/sbom/", "usr/share/sbom/moq-relay.spdx.json",
	}
	if diff := cmp.Diff(wantEntries, slices.Sorted(maps.Keys(entries))); diff != "" {
		t.Errorf("layer for %s (-want +got):\n%s", p, diff)
	}
	for name, e := range entries {
		if e.Uid != 0 || e.Gid != 0 || e.Mode&0o022 != 0 || !e.ModTime.Equal(release.Created) {
			t.Errorf("%s: owner %d:%d, mode %o, time %s; want root, not writable by others, %s", name, e.Uid, e.Gid, e.Mode, e.ModTime, release.Created)
		}
	}
}

func TestArchiveIsReproducible(t *testing.T) {
	relay := Products(release)[0]
	write := func(i Image, contents []content) string {
		digest, err := i.archive(io.Discard, contents)
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	first := write(relay, relayContents(relay))

	shuffled := relayContents(relay)
	slices.Reverse(shuffled[0].files)
	changed := relayContents(relay)
	changed[1].files[0].data = []byte("another program")
	later := release
	later.Created = later.Created.Add(time.Second)

	for _, c := range []struct {
		name   string
		digest string
		same   bool
	}{
		{"again", write(Products(release)[0], relayContents(relay)), true},
		{"files in another order", write(relay, shuffled), true},
		{"another program for arm64", write(relay, changed), false},
		{"another time", write(Products(later)[0], relayContents(relay)), false},
		{"another version", write(Variants(release)[0], relayContents(relay)), false},
	} {
		if (c.digest == first) != c.same {
			t.Errorf("%s: digest %s, first was %s, want same: %t", c.name, c.digest, first, c.same)
		}
	}
}

func TestVariantsDifferInTagAlone(t *testing.T) {
	relay := Products(release)[0]
	for i, suffix := range []string{"-next", "-broken"} {
		v := Variants(release)[i]
		if v.Reference() != relay.Reference()+suffix {
			t.Errorf("reference %s, want %s", v.Reference(), relay.Reference()+suffix)
		}
		got := []any{v.Name, v.Entrypoint, v.User, v.Ports, v.Files()}
		want := []any{relay.Name, relay.Entrypoint, relay.User, relay.Ports, relay.Files()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", v.Reference(), diff)
		}
	}
}

// Names that no registry takes are refused before anything is built.
func TestImageIsValidated(t *testing.T) {
	for _, version := range []string{"", "v1.0.0+dirty", "v1 beta", "a/b", "a:b"} {
		if err := Products(Release{Version: version})[0].validate(); err == nil {
			t.Errorf("version %q was taken for a tag", version)
		}
	}
}

// The chart names images by its appVersion; ours must go by the same names.
func TestChartNamesOurImages(t *testing.T) {
	b, err := os.ReadFile("../../../charts/moq-operator/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "\nappVersion: ")
	version, _, _ := strings.Cut(after, "\n")
	for _, i := range Products(Release{Version: strings.Trim(version, `"`)})[:2] {
		if err := i.validate(); err != nil {
			t.Errorf("appVersion: %v", err)
		}
		if !strings.Contains(string(b), "image: "+i.Reference()+"\n") {
			t.Errorf("Chart.yaml does not name %s", i.Reference())
		}
	}
}

type entry struct {
	*tar.Header
	data []byte
}

func readTar(t *testing.T, r io.Reader) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := entries[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		entries[h.Name] = entry{h, b}
	}
}

func blob(t *testing.T, blobs map[string]entry, d descriptor) []byte {
	t.Helper()
	b, ok := blobs["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
	if !ok || len(b.data) != d.Size {
		t.Fatalf("%s %s: %d bytes there, want %d", d.MediaType, d.Digest, len(b.data), d.Size)
	}
	return b.data
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func parse[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}
