package link_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/link"
	"weft/engine/netnstest"
)

func TestTapNames(t *testing.T) {
	host := netnstest.Hosts(t, 1, 0)[0]
	host.Exec("ip", "tuntap", "add", "foreign", "mode", "tap")
	for _, tt := range []struct {
		name string
		is   func(error) bool
		text string
	}{
		{"eth0", errdefs.IsConflict, "device eth0 exists already"},
		{"foreign", errdefs.IsConflict, "ip link delete foreign"},
		{"", errdefs.IsInvalidArgument, "needs a name"},
		{"a/b", errdefs.IsInvalidArgument, "interface name"},
		{"longer-than-15-bytes", errdefs.IsInvalidArgument, "at most 15 bytes"},
	} {
		if err := link.CheckTap(host.NS, tt.name); !tt.is(err) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%q: %v", tt.name, err)
		}
	}
	if ours, err := link.HasTap(host.NS, "foreign"); ours || err != nil {
		t.Errorf("somebody's device: %t, %v", ours, err)
	}
}

// TestTapUndoesItself has no peer to join the device to.
func TestTapUndoesItself(t *testing.T) {
	host := netnstest.Hosts(t, 1, 0)[0]
	if err := link.EnsureTap(host.NS, link.Tap{Name: "vm0", MTU: 1400, Peer: "nobody"}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("without a peer: %v", err)
	}
	if has, err := link.HasTap(host.NS, "vm0"); has || err != nil {
		t.Errorf("left behind: %t, %v", has, err)
	}
}
