package lab_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/lab"
	"weft/engine/netnstest"
)

func TestUpRefusesWhatCannotWork(t *testing.T) {
	netnstest.Require(t)
	prefix := netip.MustParsePrefix
	for name, tc := range map[string]struct {
		cfg  lab.Config
		says string
	}{
		"too many hosts":       {lab.Config{Hosts: 251}, "1 to 250 hosts"},
		"negative hosts":       {lab.Config{Hosts: -1}, "1 to 250 hosts"},
		"small MTU":            {lab.Config{MTU: 1279}, "1280"},
		"large MTU":            {lab.Config{MTU: 65536}, "65535"},
		"full subnet":          {lab.Config{Hosts: 3, Subnets: []netip.Prefix{prefix("10.0.0.0/30")}}, "choose a larger --subnet"},
		"full IPv6 subnet":     {lab.Config{Hosts: 3, Subnets: []netip.Prefix{prefix("fd00::/127")}}, "choose a larger --subnet"},
		"host bits":            {lab.Config{Subnets: []netip.Prefix{prefix("10.0.0.1/24")}}, "did you mean 10.0.0.0/24"},
		"two of one family":    {lab.Config{Subnets: []netip.Prefix{prefix("10.0.0.0/24"), prefix("10.1.0.0/24")}}, "one prefix of each family"},
		"loopback":             {lab.Config{Subnets: []netip.Prefix{prefix("127.0.0.0/24")}}, "choose a private one"},
		"upper-case name":      {lab.Config{Name: "Lab"}, "invalid lab name"},
		"name that climbs":     {lab.Config{Name: ".."}, "invalid lab name"},
		"state hidden by /run": {lab.Config{StateDir: "/run/labs"}, "choose another --state-dir"},
		"long state directory": {lab.Config{StateDir: "/tmp/" + strings.Repeat("x", 80)}, "choose a shorter --state-dir"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Self = self()
			own := tc.cfg.StateDir == ""
			if own {
				tc.cfg.StateDir = t.TempDir()
			}
			_, err := lab.Up(t.Context(), tc.cfg)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v", err)
			}
			if made, err := os.ReadDir(tc.cfg.StateDir); len(made) > 0 || !own && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("made %v, %v", made, err)
			}
		})
	}
}

func TestAddHost(t *testing.T) {
	l := up(t, lab.Config{Hosts: 1})
	h, err := l.AddHost(t.Context(), "extra", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParsePrefix("192.168.99.2/24"); h.Addr != want {
		t.Errorf("address %s, want %s", h.Addr, want)
	}
	// The running host learns the new name.
	eventually(t, "host1 reaches the new host", func() bool { return reaches(t, l, "host1", "extra") })
	if _, err := l.AddHost(t.Context(), "extra", nil); !errdefs.IsConflict(err) {
		t.Errorf("second host of one name: %v", err)
	}
	if _, err := l.AddHost(t.Context(), "Switch", nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("invalid name: %v", err)
	}
	_, err = l.AddHost(t.Context(), "broken", func(lab.Host) lab.Boot { return lab.Boot{Command: []string{"no-such-program"}} })
	if err == nil {
		t.Error("a host without its program came up")
	}
	hosts, err := l.Hosts()
	if err != nil || len(hosts) != 2 {
		t.Errorf("hosts after a failure: %v, %v", hosts, err)
	}
	if left, _ := filepath.Glob(filepath.Dir(h.DataDir()) + "/../broken"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestOpenNamesTheLabsThereAre(t *testing.T) {
	dir := t.TempDir()
	up(t, lab.Config{StateDir: dir, Name: "blue", Hosts: 1})
	_, err := lab.Open(dir, "red", self())
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "blue") {
		t.Errorf("%v", err)
	}
	_, err = lab.Up(t.Context(), lab.Config{StateDir: dir, Name: "blue", Self: self()})
	if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "weft lab down --name blue") {
		t.Errorf("second lab of one name: %v", err)
	}
	// Same subnet, other name: two labs don't meet.
	up(t, lab.Config{StateDir: dir, Name: "red", Hosts: 1})
	if names, err := lab.List(dir); err != nil || strings.Join(names, " ") != "blue red" {
		t.Errorf("labs: %v, %v", names, err)
	}
}
