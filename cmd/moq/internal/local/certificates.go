package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// authorityDir is the folder of the authority, below the state folder. No
// relay reads it.
const authorityDir = "authority"

// certificates keeps the files that the operator keeps as Secrets: the
// authority in one folder, and a folder per set, which its relays read.
type certificates struct {
	dir   string
	state pki.State
}

func newCertificates(dir string) *certificates { return &certificates{dir: dir} }

// wanted returns what certificates a plan is to have: the names of the pods
// and, first of all, the one by which they are known here.
func wanted(plan Plan) pki.Wanted {
	w := pki.Wanted{Names: make(map[string][]string)}
	for _, set := range plan.sets {
		w.Names[set.Key()] = set.CertificateNames()
		w.Validity, w.RenewBefore = set.Cluster.Spec.TLS.Internal.LeafLife()
	}
	return w
}

// write makes what is missing or about to expire and writes it. A relay that
// runs reads its files again.
func (c *certificates) write(plan Plan) error {
	if c.state.Authority.Current == nil {
		if err := c.read(plan); err != nil {
			return err
		}
	}
	state, _, err := pki.Ensure(c.state, wanted(plan), time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	c.state = state
	if err := c.writeDir(authorityDir, state.Authority.Data()); err != nil {
		return err
	}
	for _, set := range plan.sets {
		data := maps.Clone(state.Leaves[set.Key()].Data())
		data[resources.FileTrust] = state.Authority.Bundle()
		if err := c.writeDir(set.Key(), data); err != nil {
			return err
		}
	}
	return nil
}

// read takes up what an earlier run left in the folder. What is broken is made
// anew.
func (c *certificates) read(plan Plan) error {
	data, err := c.readDir(authorityDir)
	if err != nil {
		return err
	}
	authority, err := pki.AuthorityOf(data)
	if err != nil {
		return nil //nolint:nilerr // a folder of something else, or of nothing: begin anew
	}
	c.state = pki.State{Authority: authority, Leaves: make(map[string]*pki.Pair)}
	for _, set := range plan.sets {
		data, err := c.readDir(set.Key())
		if err != nil {
			return err
		}
		if leaf, err := pki.PairOf(data); err == nil {
			c.state.Leaves[set.Key()] = leaf
		}
	}
	return nil
}

// fingerprints returns the nodes of plan with the fingerprints of their
// certificates.
func (c *certificates) fingerprints(plan Plan) []Node {
	nodes := slices.Clone(plan.Nodes)
	for i, n := range nodes {
		set := n.Region
		if n.Root {
			set = string(resources.RoleRoot)
		}
		nodes[i].Fingerprint = c.state.Leaves[set].Fingerprint()
	}
	return nodes
}

// summary says in a line what there is.
func (c *certificates) summary(plan Plan) string {
	validity := wanted(plan).Validity
	return fmt.Sprintf("internal CA, %d days", int(validity.Hours()/24))
}

func (c *certificates) readDir(name string) (map[string][]byte, error) {
	dir := filepath.Join(c.dir, name)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string][]byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	data := make(map[string][]byte)
	for _, e := range entries {
		if data[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// writeDir writes what has changed, each file at once, the key before its
// certificate.
func (c *certificates) writeDir(name string, data map[string][]byte) error {
	dir := filepath.Join(c.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, file := range slices.Backward(slices.Sorted(maps.Keys(data))) { // tls.key before tls.crt
		path := filepath.Join(dir, file)
		if before, err := os.ReadFile(path); err == nil && slices.Equal(before, data[file]) {
			continue
		}
		if err := os.WriteFile(path+".new", data[file], 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
