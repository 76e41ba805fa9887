// Package image makes container images of static binaries, as OCI archives,
// without a container engine: that is how the images of a release and those of
// the rig are made, byte for byte alike on any machine with Go.
//
// [Products] lists what we publish, [Variants] what the rig needs besides;
// [Build] compiles and writes them. The Dockerfile at the top of the repository
// builds the products too, for those who have an engine; a test here compares
// the two.
//
// What always holds: the same programs, files and [Release] give the same
// digests; an image runs as a user without rights, 65532, and has no shell; and
// it holds its own bill of materials under /usr/share/sbom.
package image

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// User is who programs run as in our images: a number, so that Kubernetes can
// tell it from root, with a group of its own.
const User = "65532:65532"

const (
	registry = "ghcr.io/moqrelay/"
	source   = "https://github.com/moqrelay/moqrelay"
	license  = "Apache-2.0"
	modules  = "github.com/moqrelay/moqrelay"
)

// Paths in the images, beside that of the program.
const (
	caPath      = "/etc/ssl/certs/ca-certificates.crt"
	licensePath = "/LICENSE"
	sbomFolder  = "/usr/share/sbom"
)

// Release is what images are made from.
type Release struct {
	// Version is the tag of the images and what their programs call themselves.
	Version string

	// Revision is the commit, in hexadecimal; "" where it is not known.
	Revision string

	// Created is the time that files in the images bear, normally that of the
	// commit. The zero time stands for the Unix epoch.
	Created time.Time
}

func (r Release) created() time.Time {
	if r.Created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return r.Created.UTC().Truncate(time.Second)
}

// Image is a container image: a static program and the few files beside it.
type Image struct {
	// Name is that of the program, of its file in the image, and of the archive.
	Name string

	// Repository and Tag are what the image is pulled by.
	Repository string
	Tag        string

	// Package is the import path of the program.
	Package string

	// Description is one sentence for who finds the image in a registry.
	Description string

	// Roots says that the program verifies public certificates, and thus needs
	// the machine's authorities.
	Roots bool

	// Entrypoint is how the program is called; User is who runs it, and "" is root.
	Entrypoint []string
	User       string

	// Ports are those that the program listens on unless told otherwise, such as 443/udp.
	Ports []string

	// Labels are the annotations of the OCI image specification, as labels.
	Labels map[string]string

	release Release
}

// Reference is the whole name of the image.
func (i Image) Reference() string { return i.Repository + ":" + i.Tag }

// Archive is the name of the archive's file. It tells tags apart.
func (i Image) Archive() string { return i.Name + "_" + i.Tag + ".tar" }

// Program is the path of the program in the image.
func (i Image) Program() string { return "/" + i.Name }

// SBOM is the path of the bill of materials in the image.
func (i Image) SBOM() string { return path.Join(sbomFolder, i.Name+".spdx.json") }

// Files lists the paths of all files in the image, sorted.
func (i Image) Files() []string {
	files := []string{i.Program(), i.SBOM(), licensePath}
	if i.Roots {
		files = append(files, caPath)
	}
	slices.Sort(files)
	return files
}

// New returns an image of the program at the import path pkg, under the name of
// its last element.
func New(pkg, repository, description string, r Release) Image {
	name := path.Base(pkg)
	i := Image{
		Name:        name,
		Repository:  repository,
		Tag:         r.Version,
		Package:     pkg,
		Description: description,
		Entrypoint:  []string{"/" + name},
		User:        User,
		release:     r,
	}
	i.Labels = labels(i)
	return i
}

// labels are the same for images made here and by the Dockerfile.
func labels(i Image) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       i.Name,
		"org.opencontainers.image.description": i.Description,
		"org.opencontainers.image.source":      source,
		"org.opencontainers.image.licenses":    license,
		"org.opencontainers.image.version":     i.release.Version,
		"org.opencontainers.image.revision":    i.release.Revision,
	}
}

// Products lists the images that we publish.
func Products(r Release) []Image {
	relay := New(modules+"/cmd/moq-relay", registry+"moq-relay", "A relay for live media over QUIC: alone, or a node of a cluster.", r)
	relay.Roots = true // the root of another cluster may have a public certificate
	relay.Ports = []string{"443/tcp", "443/udp"}

	operator := New(modules+"/cmd/moq-operator", registry+"moq-operator", "Runs Media-over-QUIC relay networks on Kubernetes.", r)

	client := New(modules+"/cmd/moq", registry+"moq", "Publishes and plays live media through Media-over-QUIC relays.", r)
	client.Roots = true

	return []Image{relay, operator, client}
}

// Variants lists further images of the relay, to roll out: one that differs in
// its version alone, tag <version>-next, and one whose program fails at once,
// tag <version>-broken.
func Variants(r Release) []Image {
	next, broken := r, r
	next.Version += "-next"
	broken.Version += "-broken"

	failing := Products(broken)[0]
	failing.Package = modules + "/hack/e2e/image/broken"
	failing.Description = "A relay that fails at once, to see how a rollout takes it."
	failing.Labels = labels(failing)
	return []Image{Products(next)[0], failing}
}

// validate says what no registry and no runtime would accept.
func (i Image) validate() error {
	switch {
	case i.Name == "" || i.Repository == "" || len(i.Entrypoint) == 0:
		return fmt.Errorf("image %q: want a name, a repository and an entrypoint", i.Name)
	case i.Tag == "" || strings.ContainsAny(i.Tag, "+/: "):
		return fmt.Errorf("image %q: %q is no tag; give a version such as v0.1.0", i.Name, i.Tag)
	}
	return nil
}
