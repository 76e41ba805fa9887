package clustertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// auditPolicy notes what service accounts outside kube-system do.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`

// Verb is a right to do something with a kind of object.
type Verb struct {
	Group, Resource, Verb string // the resource with its subresource: pods/status
}

// Usage is what a user has done.
type Usage struct {
	Used      map[Verb]bool
	Forbidden map[Verb]bool // asked for and refused
}

func (p *Plane) auditLog() string { return filepath.Join(p.dir, "audit.log") }

// Usage returns what the user has asked of the API server so far.
func (p *Plane) Usage(user string) (Usage, error) {
	f, err := os.Open(p.auditLog())
	if err != nil {
		return Usage{}, err
	}
	defer func() { _ = f.Close() }()

	usage := Usage{Used: map[Verb]bool{}, Forbidden: map[Verb]bool{}}
	lines := json.NewDecoder(bufio.NewReader(f))
	for {
		var e auditEvent
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return usage, nil
		} else if err != nil {
			return Usage{}, err
		}
		if e.User.Username != user || e.ObjectRef.Resource == "" {
			continue
		}
		for _, verb := range e.verbs() {
			usage.Used[verb] = true
			if e.ResponseStatus.Code == http.StatusForbidden {
				usage.Forbidden[verb] = true
			}
		}
	}
}

// auditEvent holds what is needed of a line of the log.
type auditEvent struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// verbs returns the rights that a request needed.
func (e auditEvent) verbs() []Verb {
	v := Verb{Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Verb: e.Verb}
	if e.ObjectRef.Subresource != "" {
		v.Resource += "/" + e.ObjectRef.Subresource
	}
	if e.Verb == "patch" && e.ResponseStatus.Code == http.StatusCreated {
		// An apply that creates needs both.
		create := v
		create.Verb = "create"
		return []Verb{v, create}
	}
	return []Verb{v}
}
