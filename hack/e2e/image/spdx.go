package image

import (
	"cmp"
	"crypto/sha1" // SPDX wants it of files
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Names of elements in a bill of materials.
const (
	spdxDocument = "SPDXRef-DOCUMENT"
	spdxImage    = "SPDXRef-Image"
	spdxStdlib   = "SPDXRef-Package-stdlib"
)

// noAssertion is how SPDX says that nobody looked.
const noAssertion = "NOASSERTION"

// spdx is a bill of materials as in the SPDX specification 2.3.
type spdx struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creationInfo   `json:"creationInfo"`
	DocumentDescribes []string       `json:"documentDescribes"`
	Packages          []spdxPackage  `json:"packages"`
	Files             []spdxFile     `json:"files"`
	Relationships     []relationship `json:"relationships"`
}

type creationInfo struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	SPDXID           string            `json:"SPDXID"`
	Name             string            `json:"name"`
	VersionInfo      string            `json:"versionInfo,omitempty"`
	Purpose          string            `json:"primaryPackagePurpose,omitempty"`
	Supplier         string            `json:"supplier,omitempty"`
	DownloadLocation string            `json:"downloadLocation"`
	FilesAnalyzed    bool              `json:"filesAnalyzed"`
	VerificationCode *verificationCode `json:"packageVerificationCode,omitempty"`
	Checksums        []checksum        `json:"checksums,omitempty"`
	SourceInfo       string            `json:"sourceInfo,omitempty"`
	LicenseConcluded string            `json:"licenseConcluded"`
	LicenseDeclared  string            `json:"licenseDeclared"`
	CopyrightText    string            `json:"copyrightText"`
	ExternalRefs     []externalRef     `json:"externalRefs,omitempty"`
}

type verificationCode struct {
	Value         string   `json:"packageVerificationCodeValue"`
	ExcludedFiles []string `json:"packageVerificationCodeExcludedFiles"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type externalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxFile struct {
	SPDXID           string     `json:"SPDXID"`
	FileName         string     `json:"fileName"`
	FileTypes        []string   `json:"fileTypes"`
	Checksums        []checksum `json:"checksums"`
	LicenseConcluded string     `json:"licenseConcluded"`
	CopyrightText    string     `json:"copyrightText"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// bill makes the bill of materials of an image on one platform: its files, every
// module that the program was linked from with the hash that go.sum holds of it,
// and what the page in it was bundled from. Nothing in it depends on when or
// where it is made.
func bill(i Image, p Platform, files []file, info *buildinfo.BuildInfo, npm []npmPackage) ([]byte, error) {
	doc := spdx{
		SPDXVersion:       "SPDX-2.3",
		DataLicense:       "CC0-1.0",
		SPDXID:            spdxDocument,
		Name:              i.Name + "-" + i.Tag + "-" + p.Arch,
		DocumentDescribes: []string{spdxImage},
		CreationInfo: creationInfo{
			Created:  i.release.created().Format(time.RFC3339),
			Creators: []string{"Organization: moqrelay", "Tool: github.com/moqrelay/moqrelay/hack/e2e/image"},
		},
	}
	doc.relate(spdxDocument, "DESCRIBES", spdxImage)
	doc.addImage(i, files)
	program := ""
	for _, f := range files {
		id := doc.addFile(f)
		if f.path == i.Program() {
			program = id
		}
	}
	if program == "" {
		return nil, fmt.Errorf("bill of materials: the image has no %s", i.Program())
	}
	for _, m := range linked(info, i.release.Version) {
		if err := doc.addModule(m, program); err != nil {
			return nil, err
		}
	}
	doc.addStdlib(info.GoVersion, program)
	for _, p := range npm {
		doc.addNpm(p, program)
	}

	// One name for one content: the same document keeps it, another gets another.
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	s := sha256.Sum256(b)
	doc.DocumentNamespace = source + "/spdx/" + doc.Name + "-" + hex.EncodeToString(s[:16])
	b, err = json.MarshalIndent(doc, "", "  ")
	return append(b, '\n'), err
}

// addImage adds the image itself, with what tells whether its files are these.
func (d *spdx) addImage(i Image, files []file) {
	hashes := make([]string, 0, len(files))
	for _, f := range files {
		hashes = append(hashes, sha1Hex(f.data))
	}
	slices.Sort(hashes)
	tag := url.Values{"repository_url": {i.Repository}, "tag": {i.Tag}}
	d.Packages = append(d.Packages, spdxPackage{
		SPDXID:           spdxImage,
		Name:             i.Name,
		VersionInfo:      i.Tag,
		Purpose:          "CONTAINER",
		Supplier:         "Organization: moqrelay",
		DownloadLocation: noAssertion,
		FilesAnalyzed:    true,
		VerificationCode: &verificationCode{sha1Hex([]byte(strings.Join(hashes, ""))), []string{"." + i.SBOM()}},
		LicenseConcluded: noAssertion,
		LicenseDeclared:  license,
		CopyrightText:    noAssertion,
		ExternalRefs:     purl("pkg:oci/" + i.Name + "?" + tag.Encode()),
	})
}

func (d *spdx) addFile(f file) (id string) {
	s := sha256.Sum256(f.data)
	kind := "TEXT"
	if f.mode&0o111 != 0 {
		kind = "BINARY"
	}
	id = "SPDXRef-File" + strings.ReplaceAll(f.path, "/", "-")
	d.Files = append(d.Files, spdxFile{
		SPDXID:           id,
		FileName:         "." + f.path,
		FileTypes:        []string{kind},
		Checksums:        []checksum{{"SHA1", sha1Hex(f.data)}, {"SHA256", hex.EncodeToString(s[:])}},
		LicenseConcluded: noAssertion,
		CopyrightText:    noAssertion,
	})
	d.relate(spdxImage, "CONTAINS", id)
	return id
}

// addModule adds a module that the program was linked from.
func (d *spdx) addModule(m debug.Module, program string) error {
	p := spdxPackage{
		SPDXID:           moduleID(m),
		Name:             m.Path,
		VersionInfo:      m.Version,
		Purpose:          "LIBRARY",
		DownloadLocation: noAssertion,
		LicenseConcluded: noAssertion,
		LicenseDeclared:  noAssertion,
		CopyrightText:    noAssertion,
	}
	if m.Version != "" { // a folder that replaces a module has none, and is nowhere else
		p.ExternalRefs = purl("pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B"))
	}
	if m.Sum != "" {
		hash, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil || len(hash) != sha256.Size {
			return fmt.Errorf("bill of materials: module %s: %q is no hash of go.sum", m.Path, m.Sum)
		}
		p.Checksums = []checksum{{"SHA256", hex.EncodeToString(hash)}}
		p.SourceInfo = "go.sum: " + m.Sum + "; the checksum is this hash of the module's tree, in hexadecimal"
	}
	d.Packages = append(d.Packages, p)
	d.relate(program, "DEPENDS_ON", p.SPDXID)
	return nil
}

// addStdlib adds the standard library, which vulnerability databases list like
// a module.
func (d *spdx) addStdlib(goVersion, program string) {
	version, _, _ := strings.Cut(strings.TrimPrefix(goVersion, "go"), " ") // experiments follow
	d.Packages = append(d.Packages, spdxPackage{
		SPDXID:           spdxStdlib,
		Name:             "stdlib",
		VersionInfo:      version,
		Purpose:          "LIBRARY",
		DownloadLocation: noAssertion,
		LicenseConcluded: noAssertion,
		LicenseDeclared:  "BSD-3-Clause",
		CopyrightText:    noAssertion,
		ExternalRefs:     purl("pkg:golang/stdlib@" + version),
	})
	d.relate(program, "DEPENDS_ON", spdxStdlib)
}

func (d *spdx) relate(element, kind, related string) {
	d.Relationships = append(d.Relationships, relationship{element, kind, related})
}

// linked lists the modules of a program as they were linked, with replacements
// in place, its own first. The version of its own is the release's.
func linked(info *buildinfo.BuildInfo, version string) []debug.Module {
	own := info.Main
	own.Version, own.Sum = version, ""
	modules := []debug.Module{own}
	for _, m := range info.Deps {
		modules = append(modules, *cmp.Or(m.Replace, m))
	}
	return modules
}

// moduleID names a module within the document.
func moduleID(m debug.Module) string {
	return "SPDXRef-Package-" + elementName(m.Path+"-"+m.Version)
}

// elementName makes of a name one within the document: letters, digits, dot and
// dash are all that may stand in it.
func elementName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, name)
}

func purl(locator string) []externalRef {
	return []externalRef{{"PACKAGE-MANAGER", "purl", locator}}
}

func sha1Hex(b []byte) string {
	s := sha1.Sum(b) // SPDX wants it of files
	return hex.EncodeToString(s[:])
}
