package image

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Where the page for browsers says what it was bundled from, and where that is
// pinned with hashes.
const (
	pageLicenses = "cmd/moq/internal/demo/dist/licenses.md"
	pageLock     = "hack/page/package-lock.json"
)

// npmPackage is a package of npm that is part of the page in a program.
type npmPackage struct {
	name, version, license string
	sha512                 []byte
}

// licensed is a heading of pageLicenses: name, version and license.
var licensed = regexp.MustCompile(`(?m)^## (\S+) - (\S+) \((.+)\)$`)

// bundled returns what the page in a program was bundled from; nothing if the
// program was built without it, which is told by its not holding the page's own
// list.
func bundled(source string, program []byte) ([]npmPackage, error) {
	list, err := os.ReadFile(filepath.Join(source, filepath.FromSlash(pageLicenses)))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Contains(program, list) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(source, filepath.FromSlash(pageLock)))
	if err != nil {
		return nil, err
	}
	pinned, err := readLock(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pageLock, err)
	}
	var all []npmPackage
	for _, m := range licensed.FindAllStringSubmatch(string(list), -1) {
		p := npmPackage{name: m[1], version: m[2], license: m[3], sha512: pinned[m[1]+"@"+m[2]]}
		if p.sha512 == nil {
			return nil, fmt.Errorf("%s does not pin %s %s, which is in the page: run \"make page\" and build again", pageLock, p.name, p.version)
		}
		all = append(all, p)
	}
	return all, nil
}

// readLock returns the hashes that npm pins, by NAME@VERSION.
func readLock(text []byte) (map[string][]byte, error) {
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, err
	}
	pinned := make(map[string][]byte)
	for path, p := range lock.Packages {
		const folder = "node_modules/"
		at := strings.LastIndex(path, folder)
		digest, ok := strings.CutPrefix(p.Integrity, "sha512-")
		if at < 0 || !ok {
			continue // the page itself
		}
		hash, err := base64.StdEncoding.DecodeString(digest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		pinned[path[at+len(folder):]+"@"+p.Version] = hash
	}
	return pinned, nil
}

// addNpm adds a package of npm that is in the program.
func (d *spdx) addNpm(p npmPackage, program string) {
	id := "SPDXRef-Npm-" + elementName(p.name+"-"+p.version)
	d.Packages = append(d.Packages, spdxPackage{
		SPDXID:           id,
		Name:             p.name,
		VersionInfo:      p.version,
		Purpose:          "LIBRARY",
		DownloadLocation: noAssertion,
		Checksums:        []checksum{{"SHA512", hex.EncodeToString(p.sha512)}},
		SourceInfo:       "bundled into the page for browsers",
		LicenseConcluded: noAssertion,
		LicenseDeclared:  p.license,
		CopyrightText:    noAssertion,
		ExternalRefs:     purl("pkg:npm/" + strings.ReplaceAll(p.name, "@", "%40") + "@" + p.version),
	})
	d.relate(program, "CONTAINS", id)
}
