package rig

import (
	"fmt"
	"path/filepath"

	"github.com/moqrelay/moqrelay/hack/e2e/image"
)

// addons are the programs that the rig's own pods run.
var addons = []string{"pause", "coredns", "metrics-server"}

// packAddons writes their images.
func (p *Plan) packAddons() error {
	for _, name := range addons {
		i := image.New("rig/"+name, "registry.e2e.test/"+name, "Part of a cluster for tests.", image.Release{Version: "1"})
		if name == "coredns" {
			i.User = "" // it listens on port 53
		}
		if _, err := image.Pack(i, filepath.Join(p.Bin, name), image.Options{Source: p.Source, Dir: filepath.Join(p.State, "images")}); err != nil {
			return fmt.Errorf("%w; run `e2e build`", err)
		}
	}
	return nil
}
