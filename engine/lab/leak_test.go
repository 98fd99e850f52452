package lab_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/lab"
	"weft/engine/netnstest"
)

const sigterm = syscall.SIGTERM

// world is what a lab could leave behind.
type world struct {
	Links, Tables, Mounts, Routes int
	Namespaces                    string // of networks, held by a process
	Processes                     string // that carry the state directory's name
	Files                         string // in the state directory
}

func observe(t *testing.T, stateDir string) world {
	t.Helper()
	netnstest.Require(t)
	links, err := netlink.LinkList()
	routes, err2 := netlink.RouteList(nil, netlink.FAMILY_ALL)
	mounts, err3 := mountinfo.GetMounts(nil)
	c, err4 := nftables.New()
	if err := errors.Join(err, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	var files []string
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return world{
		Links: len(links), Tables: len(tables), Mounts: len(mounts), Routes: len(routes),
		Namespaces: strings.Join(namespaces(t), " "), Processes: fmt.Sprint(processes(t, stateDir)),
		Files: strings.Join(files, " "),
	}
}

// namespaces gives the network namespaces that processes of the lab's making
// are in: those of our descendants and of orphans.
func namespaces(t *testing.T) []string {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		line, _ := os.ReadFile(path)
		ns, err := os.Readlink(filepath.Join(filepath.Dir(path), "ns/net"))
		if err == nil && ns != own && strings.HasPrefix(string(line), lab.HostName) {
			found[ns] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// processes gives the running processes that have text on their command line.
func processes(t *testing.T, text string) []int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range paths {
		line, _ := os.ReadFile(path)
		if strings.Contains(string(line), text) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// expectNothingLeft compares with before; namespaces are taken apart a moment
// after their last process.
func expectNothingLeft(t *testing.T, stateDir string, before world) {
	t.Helper()
	var after world
	eventually(t, "nothing is left", func() bool {
		after = observe(t, stateDir)
		return after == before || t.Failed()
	})
	if after != before {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

func TestDownLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	before := observe(t, dir)
	command := func(h lab.Host) lab.Boot {
		return lab.Boot{Command: []string{"sh", "-c", "sleep 1000 # " + h.DataDir()}}
	}
	damages := map[string]func(t *testing.T, l *lab.Lab, place string){
		"whole":       func(*testing.T, *lab.Lab, string) {},
		"no lab.json": func(t *testing.T, _ *lab.Lab, place string) { remove(t, filepath.Join(place, "lab.json")) },
		"no directory of a host": func(t *testing.T, _ *lab.Lab, place string) {
			if err := os.RemoveAll(filepath.Join(place, "host1")); err != nil {
				t.Fatal(err)
			}
		},
		"a host killed": func(t *testing.T, l *lab.Lab, _ string) {
			st, err := l.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(st[1].PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if _, err := syscall.Wait4(st[1].PID, nil, 0, nil); err != nil {
				t.Fatal(err)
			}
		},
		"no underlay": func(t *testing.T, l *lab.Lab, _ string) {
			if err := unix.Unmount(l.Underlay(), unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			remove(t, l.Underlay())
		},
		"a mount in a directory": func(t *testing.T, _ *lab.Lab, place string) {
			if err := unix.Mount("tmpfs", filepath.Join(place, "host2", "data"), "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		},
		"things of the host's own": func(t *testing.T, l *lab.Lab, _ string) {
			mustRun(t, l, "host2", "mount -t tmpfs tmpfs /mnt && ip link add br0 type bridge && nft add table inet own && mkdir /run/netns && ip netns add inner && ip link add v0 type veth peer name v1 netns inner")
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			l, err := lab.Up(t.Context(), lab.Config{StateDir: dir, Name: "leak", Hosts: 2, Self: self(), Boot: command})
			if err != nil {
				t.Fatal(err)
			}
			if len(processes(t, dir)) < 4 {
				t.Error("the count of processes sees nothing")
			}
			damage(t, l, filepath.Join(dir, "leak"))
			again, err := lab.Open(dir, "leak", self())
			if err == nil {
				err = again.Down(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			expectNothingLeft(t, dir, before)
			if _, err := lab.Open(dir, "leak", self()); !errdefs.IsNotFound(err) {
				t.Errorf("open of a removed lab: %v", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedUpUndoesItself(t *testing.T) {
	dir := t.TempDir()
	before := observe(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := lab.Up(ctx, stuck(dir))
		failed <- err
	}()
	awaitBoot(t, dir)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	expectNothingLeft(t, dir, before)
}

// A killed `up` can undo nothing; `down` does, and `up` says so.
func TestDownAfterUpWasKilled(t *testing.T) {
	dir := t.TempDir()
	before := observe(t, dir)
	cmd := exec.Command(self())
	cmd.Args = []string{upForever, dir}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitBoot(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_, err := lab.Up(t.Context(), stuck(dir))
	if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "weft lab down") {
		t.Errorf("%v", err)
	}
	l, err := lab.Open(dir, lab.DefaultName, self())
	if err == nil {
		err = l.Down(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	expectNothingLeft(t, dir, before)
}

func awaitBoot(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "hosts boot", func() bool {
		booted, err := filepath.Glob(filepath.Join(dir, lab.DefaultName, "host*", "data", "booted"))
		return err == nil && len(booted) == 2
	})
}

func TestFailedUpSaysWhyAndUndoesItself(t *testing.T) {
	dir := t.TempDir()
	before := observe(t, dir)
	for name, boot := range map[string]lab.Boot{
		"it ended: no such thing": {Command: []string{"sh", "-c", "echo it ended: no such thing >&2; exit 3"}, Notify: true},
		"no-such-program":         {Command: []string{"no-such-program"}},
	} {
		_, err := lab.Up(t.Context(), lab.Config{StateDir: dir, Self: self(), Hosts: 2, Boot: func(lab.Host) lab.Boot { return boot }})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "host") {
			t.Errorf("%q: %v", name, err)
		}
		expectNothingLeft(t, dir, before)
	}
}
