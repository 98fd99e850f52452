package dockerdtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"weft/engine/dockerdtest"
	"weft/engine/lab"
)

func TestMain(m *testing.M) {
	if code, ours := lab.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestDaemonsFormASwarm(t *testing.T) {
	bed := dockerdtest.Start(t, dockerdtest.Options{Hosts: 3})
	first := bed.Hosts[0]
	first.Docker("swarm", "init", "--advertise-addr", first.Addr.String())
	token := first.Docker("swarm", "join-token", "-q", "worker")
	for _, h := range bed.Hosts[1:] {
		h.Docker("swarm", "join", "--advertise-addr", h.Addr.String(), "--token", token, first.Addr.String()+":2377")
	}
	if nodes := strings.Fields(first.Docker("node", "ls", "-q")); len(nodes) != 3 {
		t.Errorf("nodes: %v", nodes)
	}
	first.Docker("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.77.0.0/24", "net")
	for i, h := range bed.Hosts {
		h.Docker("run", "-d", "--name", "box", "--hostname", h.Name, "--network", "net",
			"--ip", "10.77.0.1"+string('1'+rune(i)), dockerdtest.Image, "sleep", "1000")
	}
	for _, from := range bed.Hosts {
		for i := range bed.Hosts {
			to := "10.77.0.1" + string('1'+rune(i))
			// Gossip takes a moment.
			deadline := time.Now().Add(20 * time.Second)
			for {
				out, err := from.Try("exec", "box", "ping", "-c", "1", "-W", "1", to)
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s does not reach %s: %s", from.Name, to, out)
				}
			}
		}
	}
	first.Docker("service", "create", "-d", "--name", "web", "--network", "net", "--endpoint-mode", "dnsrr",
		"--replicas", "3", dockerdtest.Image, "sleep", "1000")
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, _ := bed.Hosts[2].Try("exec", "box", "nslookup", "tasks.web", "127.0.0.11")
		if strings.Count(out, "Address: 10.77.0.") == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the service's name does not give 3 addresses:\n%s\n%s", out, first.Docker("service", "ps", "--no-trunc", "web"))
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	dockerdtest.Require(t)
	var dir, cgroup string
	t.Run("a daemon with a container", func(t *testing.T) {
		bed := dockerdtest.Start(t, dockerdtest.Options{})
		bed.Hosts[0].Docker("run", "-d", dockerdtest.Image, "sleep", "1000")
		dir = filepath.Dir(filepath.Dir(bed.Lab.Underlay()))
		host, err := bed.Lab.Host(bed.Hosts[0].Name)
		if err != nil {
			t.Fatal(err)
		}
		cgroup = filepath.Dir(host.Cgroup())
		for what, there := range traces(t, dir, cgroup) {
			if there == 0 {
				t.Errorf("the count of %s sees nothing", what)
			}
		}
	})
	for what, there := range traces(t, dir, cgroup) {
		if there > 0 {
			t.Errorf("%d %s are left", there, what)
		}
	}
}

// traces counts what carries the name of a bed's directory, or of its cgroup.
func traces(t *testing.T, dir, cgroup string) map[string]int {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{"mounts": len(mounts)}
	glob := func(pattern string) []string {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	const cgroups = "/sys/fs/cgroup" // of version 2, or with one directory per controller
	count["directories"] = len(glob(dir))
	count["cgroups"] = len(glob(cgroups+cgroup)) + len(glob(cgroups+"/*"+cgroup))
	count["processes"] = 0
	for _, path := range glob("/proc/[0-9]*/cmdline") {
		if line, _ := os.ReadFile(path); strings.Contains(string(line), dir) {
			count["processes"]++
		}
	}
	return count
}
