package netnstest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Inventory is what there is in some namespaces and directories: a line for
// each link, address, route, rule, permanent neighbor, mount and file, and
// the number of namespaces this process holds open.
type Inventory map[string]int

const openFiles = "open namespaces"

// Take lists what there is in the namespaces, and the mounts and files below
// dir (none when it is empty).
func Take(tb testing.TB, dir string, namespaces ...*kernel.Namespace) Inventory {
	tb.Helper()
	inv := Inventory{}
	for _, ns := range namespaces {
		for _, l := range strings.Fields(onlyNames(Exec(tb, ns, "ip", "-o", "link"))) {
			inv[ns.Path()+" link "+l]++
		}
		for _, query := range []string{
			"-o addr", "-o -4 route show table all", "-o -6 route show table all",
			"-4 rule", "-6 rule", "neigh show nud permanent",
		} {
			out := Exec(tb, ns, append([]string{"ip"}, strings.Fields(query)...)...)
			for line := range strings.Lines(out) {
				if line = settled(line); line != "" {
					inv[ns.Path()+" "+query+": "+line]++
				}
			}
		}
	}
	if dir != "" {
		inv.below(tb, dir)
	}
	inv[openFiles] = openNamespaces(tb)
	return inv
}

// settled gives a line without what the kernel changes by itself a moment after
// a link came up; nothing is left of what it makes for every link, which is
// listed already. Routes to routers' anycast addresses (RFC 4291, 2.6.1) come
// with the forwarding of IPv6, which an engine leaves on, as dockerd does.
func settled(line string) string {
	if strings.Contains(line, "fe80:") || strings.Contains(line, "ff00::/8") || strings.HasPrefix(line, "anycast ") {
		return ""
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(line), func(word string) bool {
		return word == "linkdown" || word == "tentative"
	}), " ")
}

// onlyNames cuts `N: name@peer: <flags>...` down to the names.
func onlyNames(links string) string {
	var names []string
	for line := range strings.Lines(links) {
		name := strings.SplitN(line, ":", 3)[1]
		names = append(names, strings.SplitN(strings.TrimSpace(name), "@", 2)[0])
	}
	return strings.Join(names, " ")
}

func (inv Inventory) below(tb testing.TB, dir string) {
	tb.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatalf("list mounts: %v", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			inv["mount "+f[4]]++
		}
	}
	files, err := filepath.Glob(dir + "/*")
	if err != nil {
		tb.Fatalf("list files: %v", err)
	}
	for _, f := range files {
		inv["file "+f]++
	}
}

func openNamespaces(tb testing.TB) int {
	tb.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatalf("list open files: %v", err)
	}
	n := 0
	for _, fd := range fds {
		var fs unix.Statfs_t
		// A mounted namespace shows its path as the link's target, so ask what it is.
		if unix.Statfs("/proc/self/fd/"+fd.Name(), &fs) == nil && fs.Type == unix.NSFS_MAGIC {
			n++
		}
	}
	return n
}

// Diff says what later has more (+) or less (-) of; it is empty when both are
// the same.
func (inv Inventory) Diff(later Inventory) string {
	var out []string
	for k, n := range later {
		if n > inv[k] {
			out = append(out, fmt.Sprintf("+%d %s", n-inv[k], k))
		}
	}
	for k, n := range inv {
		if n > later[k] {
			out = append(out, fmt.Sprintf("-%d %s", n-later[k], k))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// NoLeaks takes an inventory now and fails the test if there is another one
// when it ends. Call it after making what may stay and before making what may
// not.
func NoLeaks(tb testing.TB, dir string, namespaces ...*kernel.Namespace) {
	tb.Helper()
	before := Take(tb, dir, namespaces...)
	tb.Cleanup(func() {
		if diff := before.Diff(Take(tb, dir, namespaces...)); diff != "" {
			tb.Errorf("the test left behind:\n%s", diff)
		}
	})
}
