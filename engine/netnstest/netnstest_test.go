package netnstest_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/netnstest"
)

func TestHostsReachEachOther(t *testing.T) {
	hosts := netnstest.Hosts(t, 3, 0)
	talk := func(from, to *netnstest.Host, addr string, patience time.Duration) error {
		var l net.Listener
		to.Do(func() (err error) {
			l, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
			return err
		})
		defer func() { _ = l.Close() }()
		return kernel.Do(from.NS, func() error {
			c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	for _, from := range hosts {
		for _, to := range hosts {
			for _, addr := range []string{to.Addr.String(), to.AddrV6.String()} {
				if err := talk(from, to, addr, 5*time.Second); err != nil {
					t.Errorf("%s to %s: %v", from.Name, addr, err)
				}
			}
		}
	}
	hosts[1].Unplug(true)
	if err := talk(hosts[0], hosts[1], hosts[1].Addr.String(), 200*time.Millisecond); err == nil {
		t.Error("reached a host that is unplugged")
	}
	hosts[1].Unplug(false)
	if err := talk(hosts[0], hosts[1], hosts[1].Addr.String(), 5*time.Second); err != nil {
		t.Errorf("plugged in again: %v", err)
	}
}

func TestInventorySeesWhatIsLeft(t *testing.T) {
	a, _ := netnstest.TwoHosts(t)
	dir := t.TempDir()
	before := netnstest.Take(t, dir, a.NS)
	if diff := before.Diff(netnstest.Take(t, dir, a.NS)); diff != "" {
		t.Errorf("nothing changed, but:\n%s", diff)
	}
	ns, err := kernel.Create(filepath.Join(dir, "ns"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, args := range []string{
		"link add br9 type bridge", "addr add 192.0.2.1/24 dev eth0", "route add 198.51.100.0/24 via 10.98.0.2",
		"-6 route add 2001:db8::/32 via fd98::2", "rule add fwmark 9 lookup 9",
		"neigh add 10.98.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
	} {
		a.Exec(append([]string{"ip"}, strings.Fields(args)...)...)
		if got := before.Diff(netnstest.Take(t, "", a.NS)); strings.Count(got, a.NS.Path()) < i+1 {
			t.Errorf("%s is not seen:\n%s", args, got)
		}
	}
	diff := before.Diff(netnstest.Take(t, dir, a.NS))
	for _, want := range []string{"+1 mount " + dir + "/ns", "+1 file " + dir + "/file", "+1 open namespaces"} {
		if !strings.Contains(diff, want) {
			t.Errorf("%q is not in\n%s", want, diff)
		}
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	if err := kernel.Remove(filepath.Join(dir, "ns")); err != nil {
		t.Fatal(err)
	}
}

// recorder is a testing.TB that keeps its failures and clean-ups to itself.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestNoLeaksFailsOnALeak(t *testing.T) {
	a, _ := netnstest.TwoHosts(t)
	r := &recorder{TB: t}
	netnstest.NoLeaks(r, "", a.NS)
	a.Exec("ip", "link", "add", "br9", "type", "bridge")
	r.cleanups[0]()
	if len(r.failures) != 1 || !strings.Contains(r.failures[0], "link br9") {
		t.Errorf("failures: %v", r.failures)
	}
}
