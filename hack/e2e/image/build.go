package image

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Options are what [Build] needs besides the images.
type Options struct {
	// Source is the top of the repository.
	Source string

	// Dir is where archives and bills of materials go; it is made if need be.
	Dir string

	// Platforms to build for; [Host] alone if there is none.
	Platforms []Platform

	// Roots is a file of certificates for images that verify public ones. If "",
	// it is the first that Go itself would read on this machine.
	Roots string

	Log *slog.Logger
}

// Built is an image that was written.
type Built struct {
	Image  Image
	Path   string // of the archive
	Digest string // of its index, as in sha256:…
}

// Build compiles the programs of the images and writes, for each, an OCI archive
// of all platforms and a bill of materials per platform.
func Build(ctx context.Context, o Options, images ...Image) ([]Built, error) {
	if len(o.Platforms) == 0 {
		o.Platforms = []Platform{Host()}
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "moqrelay-images-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)

	var built []Built
	for _, i := range images {
		b, err := build(ctx, o, i, work)
		if err != nil {
			return built, fmt.Errorf("image %s: %w", i.Reference(), err)
		}
		o.Log.InfoContext(ctx, "image written", "image", i.Reference(), "digest", b.Digest, "path", b.Path)
		built = append(built, b)
	}
	return built, nil
}

func build(ctx context.Context, o Options, i Image, work string) (Built, error) {
	if err := i.validate(); err != nil {
		return Built{}, err
	}
	shared, err := i.sharedFiles(o)
	if err != nil {
		return Built{}, err
	}
	var contents []content
	for _, p := range o.Platforms {
		program, err := compile(ctx, o.Source, i, p, filepath.Join(work, i.Name))
		if err != nil {
			return Built{}, err
		}
		c, err := i.content(slices.Concat(shared, []file{{i.Program(), 0o755, program}}), o.Source)
		if err != nil {
			return Built{}, err
		}
		if err := os.WriteFile(filepath.Join(o.Dir, i.billName(p)), c.bill, 0o644); err != nil {
			return Built{}, err
		}
		contents = append(contents, c)
	}
	return i.writeFile(o.Dir, contents)
}

// Pack writes an image of a program that has been built already, of one
// platform: that which the program is for.
func Pack(i Image, binary string, o Options) (Built, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return Built{}, err
	}
	shared, err := i.sharedFiles(o)
	if err != nil {
		return Built{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return Built{}, err
	}
	c, err := i.content(append(shared, file{i.Program(), 0o755, program}), o.Source)
	if err != nil {
		return Built{}, fmt.Errorf("image %s of %s: %w", i.Reference(), binary, err)
	}
	return i.writeFile(o.Dir, []content{c})
}

// WriteBill adds the bill of materials of an image to the folder that holds all
// its other files under the paths they have in the image. source is the top of
// the repository that they were built from.
func WriteBill(i Image, root, source string) error {
	var files []file
	for _, p := range i.Files() {
		if p == i.SBOM() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if p == i.Program() {
			mode = 0o755
		}
		files = append(files, file{p, mode, b})
	}
	c, err := i.content(files, source)
	if err != nil {
		return err
	}
	out := filepath.Join(root, i.SBOM())
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, c.bill, 0o644)
}

// content makes the bill of materials of the files, of which one is the
// program, and adds it to them. The program says what platform it is for.
func (i Image) content(files []file, source string) (content, error) {
	at := slices.IndexFunc(files, func(f file) bool { return f.path == i.Program() })
	if at < 0 {
		return content{}, fmt.Errorf("no file %s", i.Program())
	}
	info, err := buildinfo.Read(bytes.NewReader(files[at].data))
	if err != nil {
		return content{}, fmt.Errorf("read what %s was linked from: %w", i.Program(), err)
	}
	npm, err := bundled(source, files[at].data)
	if err != nil {
		return content{}, err
	}
	c := content{platform: platformOf(info)}
	if c.bill, err = bill(i, c.platform, files, info, npm); err != nil {
		return content{}, err
	}
	c.files = slices.Concat(files, []file{{i.SBOM(), 0o644, c.bill}})
	return c, nil
}

// billName is the name of the file beside the archive.
func (i Image) billName(p Platform) string {
	return strings.TrimSuffix(i.Archive(), ".tar") + "_" + p.OS + "_" + p.Arch + ".spdx.json"
}

// writeFile writes the archive under its final name once it is whole.
func (i Image) writeFile(dir string, contents []content) (Built, error) {
	path := filepath.Join(dir, i.Archive())
	f, err := os.CreateTemp(dir, "."+i.Archive()+"-*")
	if err != nil {
		return Built{}, err
	}
	defer os.Remove(f.Name()) // of no effect once renamed
	digest, err := i.archive(f, contents)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return Built{}, fmt.Errorf("write %s: %w", path, err)
	}
	return Built{i, path, digest}, os.Rename(f.Name(), path)
}

// sharedFiles are those that do not depend on the platform.
func (i Image) sharedFiles(o Options) ([]file, error) {
	text, err := os.ReadFile(filepath.Join(o.Source, "LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("license: %w", err)
	}
	files := []file{{licensePath, 0o644, text}}
	if i.Roots {
		b, err := readRoots(o.Roots)
		if err != nil {
			return nil, err
		}
		files = append(files, file{caPath, 0o644, b})
	}
	return files, nil
}

// readRoots reads the authorities at path, or those of this machine.
func readRoots(path string) ([]byte, error) {
	if path != "" {
		return os.ReadFile(path)
	}
	for _, p := range []string{
		caPath,                             // Debian, Arch
		"/etc/pki/tls/certs/ca-bundle.crt", // Fedora
		"/etc/ssl/ca-bundle.pem",           // openSUSE
		"/etc/ssl/cert.pem",                // Alpine, macOS
	} {
		b, err := os.ReadFile(p)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, errors.New("no certificates of public authorities on this machine; install ca-certificates or give a file of them")
}

// compile builds a static program and returns it. Paths of this machine and the
// state of the checkout stay out of it.
func compile(ctx context.Context, source string, i Image, p Platform, out string) ([]byte, error) {
	dir, pkg := source, "."+strings.TrimPrefix(i.Package, modules)
	if rig := modules + "/hack/e2e"; strings.HasPrefix(i.Package, rig+"/") {
		dir, pkg = filepath.Join(source, "hack", "e2e"), "."+strings.TrimPrefix(i.Package, rig)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X "+modules+"/relay.Version="+i.release.Version, "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.OS, "GOARCH="+p.Arch)
	if b, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s for %s: %w\n%s", i.Package, p, err, bytes.TrimSpace(b))
	}
	return os.ReadFile(out)
}
