package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/lab"
	"weft/engine/netnstest"
)

const sigterm = syscall.SIGTERM

// observe gives what a lab could leave behind: what is in the state directory
// or carries its name, and whatever there is in this network namespace.
func observe(t *testing.T, stateDir string) map[string]bool {
	t.Helper()
	netnstest.Require(t)
	links, err := netlink.LinkList()
	routes, err2 := netlink.RouteList(nil, netlink.FAMILY_ALL)
	mounts, err3 := mountinfo.GetMounts(mountinfo.PrefixFilter(stateDir))
	c, err4 := nftables.New()
	files, err5 := os.ReadDir(stateDir)
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, l := range links {
		all["link "+l.Attrs().Name] = true
	}
	for _, r := range routes {
		all["route "+r.String()] = true
	}
	for _, m := range mounts {
		all["mount "+m.Mountpoint] = true
	}
	for _, table := range tables {
		all["table "+table.Name] = true
	}
	for _, f := range files {
		all["file "+f.Name()] = true
	}
	for _, pid := range processes(t, stateDir) {
		all["process "+strconv.Itoa(pid)] = true
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			all["namespace "+ns] = true
		}
	}
	return all
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

// expectNothingLeft compares with before, for a while: other tests come and go
// meanwhile, and the kernel takes namespaces apart when it has time.
func expectNothingLeft(t *testing.T, stateDir string, before map[string]bool) {
	t.Helper()
	var left []string
	deadline := time.Now().Add(10 * time.Second)
	for {
		left = nil
		for what := range observe(t, stateDir) {
			if !before[what] {
				left = append(left, what)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			slices.Sort(left)
			t.Errorf("left: %s", strings.Join(left, ", "))
			return
		}
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
