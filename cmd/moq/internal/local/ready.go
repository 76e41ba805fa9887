package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/server"
)

// pollInterval is the time between two questions to a node that starts.
const pollInterval = 20 * time.Millisecond

// waitReady blocks until the relay answers its readiness probe.
func (n Node) waitReady(ctx context.Context) error {
	for {
		err := get(ctx, n.Private+config.PathReady, nil)
		if err == nil {
			return nil
		}
		if pause(ctx) != nil {
			return fmt.Errorf("%s: %w (%w)", n.Name, context.Cause(ctx), err)
		}
	}
}

// waitMesh blocks until every node is linked with the root, and returns how
// many.
func waitMesh(ctx context.Context, plan Plan) (string, error) {
	nodes := 0
	for _, n := range plan.Nodes {
		if n.Root {
			continue
		}
		for !n.joined(ctx) {
			if pause(ctx) != nil {
				return "", fmt.Errorf("%s has not joined the root: %w", n.Name, context.Cause(ctx))
			}
		}
		nodes++
	}
	return fmt.Sprintf("%d/%d relays joined the root", nodes, nodes), nil
}

// joined reports whether the node is linked with a root.
func (n Node) joined(ctx context.Context) bool {
	var info server.NodeInfo
	if get(ctx, n.Private+config.PathNodes, &info) != nil {
		return false
	}
	for _, root := range info.Roots {
		if root.Connected {
			return true
		}
	}
	return false
}

func get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// names lists nodes as people read them: "eu-0 eu-1".
func names(nodes []Node) string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.Name
	}
	return strings.Join(all, " ")
}

// urls lists where clients reach the nodes, the host once.
func urls(nodes []Node) string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.URL
		if i > 0 {
			all[i] = n.URL[strings.LastIndexByte(n.URL, ':')+1:]
		}
	}
	return strings.Join(all, " ")
}
