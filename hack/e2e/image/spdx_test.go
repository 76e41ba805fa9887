package image

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// linkedInfo is what a program could have been linked from.
func linkedInfo() *buildinfo.BuildInfo {
	hash := "h1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32)))
	return &buildinfo.BuildInfo{
		GoVersion: "go1.26.8 X:nodwarf5",
		Path:      "github.com/moqrelay/moqrelay/cmd/moq-relay",
		Main:      debug.Module{Path: "github.com/moqrelay/moqrelay", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.test/plain", Version: "v1.2.3", Sum: hash},
			{Path: "example.test/replaced", Version: "v1.0.0", Replace: &debug.Module{Path: "example.test/fork", Version: "v1.0.1+incompatible", Sum: hash}},
			{Path: "example.test/folder", Version: "v0.0.0", Replace: &debug.Module{Path: "../folder"}},
		},
	}
}

func makeBill(t *testing.T, info *buildinfo.BuildInfo) spdx {
	t.Helper()
	relay := Products(release)[0]
	contents := relayContents(relay)
	b, err := bill(relay, contents[0].platform, contents[0].files, info, nil)
	if err != nil {
		t.Fatal(err)
	}
	return parse[spdx](t, b)
}

func TestBillNamesEachModule(t *testing.T) {
	type module struct{ Name, Version, Checksum, Purl string }
	var got []module
	for _, p := range makeBill(t, linkedInfo()).Packages {
		if p.Purpose != "LIBRARY" {
			continue
		}
		m := module{Name: p.Name, Version: p.VersionInfo}
		for _, ref := range p.ExternalRefs {
			m.Purl = ref.Locator
		}
		if len(p.Checksums) > 0 {
			m.Checksum = p.Checksums[0].Algorithm + " " + p.Checksums[0].Value
		}
		got = append(got, m)
	}
	hash := "SHA256 " + strings.Repeat("78", 32)
	want := []module{
		{"github.com/moqrelay/moqrelay", "v0.1.0", "", "pkg:golang/github.com/moqrelay/moqrelay@v0.1.0"}, // the release's, not the checkout's
		{"example.test/plain", "v1.2.3", hash, "pkg:golang/example.test/plain@v1.2.3"},
		{"example.test/fork", "v1.0.1+incompatible", hash, "pkg:golang/example.test/fork@v1.0.1%2Bincompatible"}, // what was linked
		{"../folder", "", "", ""},
		{"stdlib", "1.26.8", "", "pkg:golang/stdlib@1.26.8"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
}

func TestBillIsValidSPDX(t *testing.T) {
	checkSPDX(t, makeBill(t, linkedInfo()))
}

// A hash that go.sum could not hold must not become a checksum.
func TestBillRefusesOtherHashes(t *testing.T) {
	relay := Products(release)[0]
	for _, hash := range []string{"h2:AAAA", "h1:AAAA", "h1:not base64"} {
		info := linkedInfo()
		info.Deps[0].Sum = hash
		if _, err := bill(relay, Host(), relayContents(relay)[0].files, info, nil); err == nil {
			t.Errorf("%q was taken for a hash", hash)
		}
	}
}

func TestBillHasOneNamePerContent(t *testing.T) {
	first := makeBill(t, linkedInfo())
	if again := makeBill(t, linkedInfo()); again.DocumentNamespace != first.DocumentNamespace {
		t.Errorf("the same bill is called %s and %s", first.DocumentNamespace, again.DocumentNamespace)
	}
	info := linkedInfo()
	info.Deps[0].Version = "v1.2.4"
	if other := makeBill(t, info); other.DocumentNamespace == first.DocumentNamespace {
		t.Errorf("two bills are called %s", first.DocumentNamespace)
	}
}

// checkModules holds the bill against what the program says of itself.
func checkModules(t *testing.T, doc spdx, info *buildinfo.BuildInfo) {
	t.Helper()
	sums := map[string]string{}
	for _, p := range doc.Packages {
		if p.Purpose == "LIBRARY" && !strings.HasPrefix(p.SPDXID, "SPDXRef-Npm-") {
			sums[p.Name+"@"+p.VersionInfo] = p.SourceInfo
		}
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		source, ok := sums[m.Path+"@"+m.Version]
		if !ok || !strings.Contains(source, m.Sum) {
			t.Errorf("%s@%s %s is not in the bill of materials (found: %t, %q)", m.Path, m.Version, m.Sum, ok, source)
		}
	}
	if got, want := len(sums), len(info.Deps)+2; got != want { // our own module and the standard library
		t.Errorf("the bill has %d modules, want %d", got, want)
	}
}

var (
	spdxName = regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	spdxTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
)

// checkSPDX checks what chapters 6 to 11 of SPDX 2.3 call mandatory.
func checkSPDX(t *testing.T, doc spdx) {
	t.Helper()
	check := func(ok bool, what string) {
		t.Helper()
		if !ok {
			t.Errorf("SPDX: %s", what)
		}
	}
	check(doc.SPDXVersion == "SPDX-2.3" && doc.DataLicense == "CC0-1.0" && doc.SPDXID == "SPDXRef-DOCUMENT", "version, license or name of the document")
	check(doc.Name != "" && strings.HasPrefix(doc.DocumentNamespace, "https://") && !strings.Contains(doc.DocumentNamespace, "#"), "name and namespace")
	check(spdxTime.MatchString(doc.CreationInfo.Created) && len(doc.CreationInfo.Creators) > 0, "creation")

	names := map[string]bool{doc.SPDXID: true}
	name := func(id string) {
		t.Helper()
		check(spdxName.MatchString(id) && !names[id], "the name "+id+" is malformed or there twice")
		names[id] = true
	}
	for _, p := range doc.Packages {
		name(p.SPDXID)
		check(p.Name != "" && p.DownloadLocation != "", "name and download location of "+p.SPDXID)
		check(p.FilesAnalyzed == (p.VerificationCode != nil), "verification code of "+p.SPDXID)
		check(p.LicenseConcluded != "" && p.LicenseDeclared != "" && p.CopyrightText != "", "licenses of "+p.SPDXID)
	}
	for _, f := range doc.Files {
		name(f.SPDXID)
		check(strings.HasPrefix(f.FileName, "./"), f.FileName+" is not relative to the image")
		check(slices.ContainsFunc(f.Checksums, func(c checksum) bool { return c.Algorithm == "SHA1" && len(c.Value) == hex.EncodedLen(20) }), "no SHA1 of "+f.FileName)
	}
	related := map[string]bool{}
	for _, r := range doc.Relationships {
		check(names[r.Element] && names[r.Related], "a relationship to nothing: "+r.Element+" "+r.Type+" "+r.Related)
		related[r.Related] = true
	}
	for id := range names {
		check(related[id] || id == doc.SPDXID, id+" stands alone")
	}
	check(slices.Equal(doc.DocumentDescribes, []string{spdxImage}), "the document describes something else")
}
