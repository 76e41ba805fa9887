package clustertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
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
			if e.Annotations.Decision == "forbid" {
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
	Annotations struct {
		// Decision tells a missing right from admission, which answers with the
		// same code: in a namespace that is being deleted, for one.
		Decision string `json:"authorization.k8s.io/decision"`
	} `json:"annotations"`
}

// verbs returns the rights that a request needed.
func (e auditEvent) verbs() []Verb {
	v := Verb{Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Verb: e.Verb}
	if e.ObjectRef.Subresource != "" {
		v.Resource += "/" + e.ObjectRef.Subresource
	}
	with := func(verb string) []Verb { return []Verb{v, {Group: v.Group, Resource: v.Resource, Verb: verb}} }
	switch {
	case e.Verb == "patch" && e.ResponseStatus.Code == http.StatusCreated:
		return with("create") // an apply that creates needs both
	case e.Verb == "watch":
		return with("list") // where the API server cannot begin a watch with what there is
	default:
		return []Verb{v}
	}
}

// AddRules adds what rules grant.
func AddRules(granted map[Verb]bool, rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted[Verb{Group: group, Resource: resource, Verb: verb}] = true
				}
			}
		}
	}
}
