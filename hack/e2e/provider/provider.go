// Package provider is where the Kubernetes comes from that the product is
// installed and tested on: made on this machine by package rig, made by kind, or
// one that the user has. It stands between the e2e command and package rig.
//
// What always holds: after Up the file of the plan describes the cluster, in the
// same way whoever made it, and Down removes no cluster that Up did not make.
package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

// A Provider makes, fills and removes one cluster.
type Provider interface {
	// Up makes the cluster, returns once pods can run, and leaves its description.
	Up(ctx context.Context, progress io.Writer) error
	// Load gives its nodes the image of an OCI archive.
	Load(ctx context.Context, archive string) error
	// Down removes it and all that is left of it. It is no error if there is nothing.
	Down(ctx context.Context) error
}

// The names of the providers.
const (
	Local = "local"
	Kind  = "kind"
	None  = "none"
)

// What tests on a cluster are told by the environment.
const (
	// EnvironmentCluster names the file that describes the cluster.
	EnvironmentCluster = "E2E_CLUSTER"
	// EnvironmentCommand names the e2e command, which can make a second cluster.
	EnvironmentCommand = "E2E_COMMAND"
	// EnvironmentTable names the file to write the table of the story to.
	EnvironmentTable = "E2E_TABLE"
)

// New returns a provider by its name, for the cluster of a plan.
func New(name string, p *rig.Plan) (Provider, error) {
	if name != Local && p.Beside != "" {
		return nil, fmt.Errorf("--beside %s: want --provider local", p.Beside)
	}
	switch name {
	case Local:
		return local{p}, nil
	case Kind:
		return kind{p}, nil
	case None:
		return none{p}, nil
	}
	return nil, fmt.Errorf("--provider %q: want local, kind or none", name)
}

// Of returns the provider of a cluster that is up.
func Of(p *rig.Plan) (Provider, error) {
	d, err := Read(p.File())
	if err != nil {
		return nil, err
	}
	p.Beside = d.Beside
	return New(d.Provider, p)
}

// Read reads the description of a cluster.
func Read(file string) (rig.Description, error) {
	var d rig.Description
	text, err := os.ReadFile(file)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

// write leaves the description of a cluster.
func write(p *rig.Plan, d rig.Description) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.File()), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p.File(), append(text, '\n'), 0o644)
}

// local is a cluster of package rig.
type local struct{ plan *rig.Plan }

func (l local) Up(ctx context.Context, progress io.Writer) error {
	if err := rig.Build(ctx, l.plan, progress); err != nil {
		return err
	}
	if err := rig.Up(ctx, l.plan, progress); err != nil {
		return err
	}
	return write(l.plan, l.plan.Describe())
}

func (l local) Load(ctx context.Context, archive string) error { return rig.Load(ctx, l.plan, archive) }

func (l local) Down(context.Context) error { return rig.Down(l.plan) }
