package cloud

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
)

// HostRoutes sets routes of this machine, or of the network namespace that it
// runs in, by the command ip. Someone has to be root for that.
type HostRoutes struct{}

// Set leads an address to a node, in one step if it led elsewhere before.
func (HostRoutes) Set(ctx context.Context, address, node netip.Addr) error {
	return ip(ctx, "route", "replace", address.String()+"/32", "via", node.String())
}

// Remove forgets where an address leads.
func (HostRoutes) Remove(ctx context.Context, address netip.Addr) error {
	return ip(ctx, "route", "delete", address.String()+"/32")
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, bytes.TrimSpace(out))
	}
	return nil
}
