package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// devices are bound from the host: a node can't be made in a user namespace.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

var devLinks = []struct{ name, target string }{
	{"ptmx", "pts/ptmx"},
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
}

// buildRoot makes the container's root and enters it; nothing of the host's
// file system can be reached afterwards.
func (b sandbox) buildRoot(hostNetwork bool) error {
	// Unmounts on the host still reach us, so that we keep nothing busy; ours
	// don't reach it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("let the host's mounts go: %w", err)
	}
	if err := b.mountRoot(); err != nil {
		return err
	}
	mounts, err := b.detachAll()
	if err != nil {
		return err
	}
	nodes, err := detachDevices()
	if err != nil {
		return err
	}
	if err := b.pivot(); err != nil {
		return err
	}
	if b.Bundle.builtin() {
		if err := makeProgramRoot(); err != nil {
			return err
		}
	}
	for _, m := range mounts {
		if err := m.attach(); err != nil {
			return err
		}
		if m.target == "/dev" {
			if err := fillDev(nodes); err != nil {
				return err
			}
		}
	}
	if err := b.setSysctls(hostNetwork); err != nil {
		return err
	}
	return b.restrict()
}

// mountRoot mounts the container's root file system on the directory made for
// it.
func (b sandbox) mountRoot() error {
	if !b.Bundle.builtin() {
		if err := mount.All(b.Bundle.RootFS, b.Root); err != nil {
			return fmt.Errorf("mount root file system: %w", err)
		}
		return nil
	}
	if err := unix.Mount("tmpfs", b.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mount root file system: %w", err)
	}
	return nil
}

// detachAll makes the specification's mounts.
func (b sandbox) detachAll() ([]detached, error) {
	var out []detached
	for _, m := range b.Bundle.Spec.Mounts {
		if m.Type == "cgroup" {
			out = append(out, detachCgroups(m)...)
			continue
		}
		d, err := detach(m)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// detachCgroups makes the container's view of its cgroups: one file system, or
// on older systems one for each hierarchy. Where it can't be made the
// container goes without, as it has no say there anyhow.
func detachCgroups(m specs.Mount) []detached {
	if fd, err := makeMount("cgroup2", nil, parseOptions(m.Options).attrs); err == nil && !hasHierarchies() {
		return []detached{{fd: fd, target: m.Destination, dir: true}}
	} else if err == nil {
		_ = unix.Close(fd)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	base, err := makeMount("tmpfs", []string{"mode=755"}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil
	}
	out := []detached{{fd: base, target: m.Destination, dir: true}}
	for line := range strings.Lines(string(own)) {
		_, rest, _ := strings.Cut(line, ":")
		names, _, _ := strings.Cut(rest, ":")
		if names == "" {
			continue // the unified hierarchy beside the others
		}
		fd, err := makeMount("cgroup", strings.Split(names, ","), parseOptions(m.Options).attrs)
		if err == nil {
			out = append(out, detached{fd: fd, target: path.Join(m.Destination, strings.TrimPrefix(names, "name=")), dir: true})
		}
	}
	return out
}

// hasHierarchies reports whether this system has cgroups of version 1.
func hasHierarchies() bool {
	own, err := os.ReadFile("/proc/self/cgroup")
	return err == nil && strings.Count(string(own), "\n") > 1
}

func detachDevices() ([]detached, error) {
	out := make([]detached, len(devices))
	for i, name := range devices {
		d, err := detach(specs.Mount{Destination: "/dev/" + name, Type: "bind", Source: "/dev/" + name, Options: []string{"nosuid", "noexec"}})
		if err != nil {
			return nil, err
		}
		out[i] = d
	}
	return out, nil
}

// pivot makes the container's root this process's and lets the host's go.
func (b sandbox) pivot() error {
	if err := unix.Chdir(b.Root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	// The old root is stacked on the new one: pivot_root(2), NOTES.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	return nil
}

// fillDev puts the devices into the container's /dev.
func fillDev(nodes []detached) error {
	for _, n := range nodes {
		if err := n.attach(); err != nil {
			return err
		}
	}
	for _, l := range devLinks {
		if err := os.Symlink(l.target, "/dev/"+l.name); err != nil {
			return err
		}
	}
	return nil
}

// makeProgramRoot makes this program the root's only one, under two names,
// with the accounts it knows.
func makeProgramRoot() error {
	if err := fillProgramRoot("/"); err != nil {
		return err
	}
	return detached{fd: programFD, target: probePath}.attach()
}

// fillProgramRoot makes everything of it in dir but the program.
func fillProgramRoot(dir string) error {
	for _, name := range []string{"bin", "etc", "root"} {
		if err := os.Mkdir(path.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:" + probePath + "\nnobody:x:65534:65534:nobody:/:" + probePath + "\n",
		"/etc/group":  "root:x:0:\nnogroup:x:65534:\n",
	}
	for name, text := range files {
		if err := os.WriteFile(path.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // every user reads them
			return err
		}
	}
	return os.Symlink(probePath, path.Join(dir, "bin", ProbeName))
}

// restrict takes from the container what it must not change, and what /proc
// and /sys tell about the host.
func (b sandbox) restrict() error {
	const quiet = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	for _, name := range b.Bundle.Spec.Linux.ReadonlyPaths {
		if err := remountReadOnly(name, quiet); err != nil {
			return err
		}
	}
	for _, name := range b.Bundle.Spec.Linux.MaskedPaths {
		if err := mask(name); err != nil {
			return err
		}
	}
	dir := b.Bundle.Spec.Process.Cwd
	if err := makeDirs(dir); err != nil {
		return fmt.Errorf("make working directory: %w", err)
	}
	attrs := uint64(unix.MOUNT_ATTR_NODEV)
	if b.Bundle.Spec.Root.Readonly {
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	if b.Bundle.builtin() {
		attrs |= unix.MOUNT_ATTR_NOSUID
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: attrs}); err != nil {
		return fmt.Errorf("restrict the root: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter working directory %s: %w", dir, err)
	}
	return nil
}

// setSysctls writes the kernel settings of the container's namespaces.
func (b sandbox) setSysctls(hostNetwork bool) error {
	if !hostNetwork {
		if err := setNetworkSysctls("/proc"); err != nil {
			return err
		}
	}
	for key, value := range b.Bundle.Spec.Linux.Sysctl {
		file := path.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("sysctl %s: this kernel does not have it in a container's namespaces", key)
			}
			return fmt.Errorf("sysctl %s: %w", key, err)
		}
	}
	return nil
}
