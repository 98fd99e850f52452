package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// runcBox is a container as containerd is told of it.
type runcBox struct {
	spec *specs.Spec
	root []mount.Mount
}

// forRunc completes the specification by what our own init does by itself. dir
// is a directory for the root of the built-in image, or to look into another.
func (m *taskMaker) forRunc(dir string) (runcBox, error) {
	b := m.bundle
	spec := *b.Spec
	linux := *spec.Linux
	spec.Linux = &linux
	spec.Root = &specs.Root{Path: "rootfs", Readonly: b.Spec.Root.Readonly} // where containerd mounts it
	box := runcBox{spec: &spec, root: b.RootFS}
	var user account
	var err error
	if b.builtin() {
		box.root, user, err = programRoot(&spec, dir, b)
	} else {
		user, err = accountIn(b.RootFS, dir, b)
	}
	if err != nil {
		return box, err
	}
	spec.Process = processOf(b, user)
	if err := ownNetwork(&linux, b.netNS()); err != nil {
		return box, err
	}
	linux.Resources = withDevices(linux.Resources)
	linux.RootfsPropagation = rootPropagation(spec.Mounts)
	if !b.AllSyscalls {
		linux.Seccomp = seccomp.DefaultProfile(&spec)
	}
	return box, nil
}

// furtherForRunc is the description of a further process in the container
// whose first one is pid.
func furtherForRunc(b bundle, pid int) (*specs.Process, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("look into the container: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	user, err := accountAt(root, b.User, b.Groups)
	if err != nil {
		return nil, err
	}
	return processOf(b, user), nil
}

// processOf makes the bundle's process a user's. Only root keeps capabilities,
// but nobody can get more than those.
func processOf(b bundle, user account) *specs.Process {
	p := *b.Spec.Process
	p.User = specs.User{UID: uint32(user.UID), GID: uint32(user.GID)} //nolint:gosec // at most 1<<31 - 1
	for _, g := range user.Groups {
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g)) //nolint:gosec // at most 1<<31 - 1
	}
	if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		p.Env = append(slices.Clone(p.Env), "HOME="+user.Home)
	}
	if user.UID != 0 {
		p.Capabilities = &specs.LinuxCapabilities{Bounding: p.Capabilities.Bounding}
	}
	return &p
}

// accountIn looks a container's user up in its root file system, which is
// mounted at dir for that, where nobody else sees it.
func accountIn(root []mount.Mount, dir string, b bundle) (account, error) {
	type answer struct {
		user account
		err  error
	}
	result := make(chan answer, 1)
	go func() {
		goruntime.LockOSThread() // the thread ends with this goroutine, and its mounts with it
		user, err := accountMounted(root, dir, b)
		result <- answer{user, err}
	}()
	found := <-result
	return found.user, found.err
}

func accountMounted(root []mount.Mount, dir string, b bundle) (_ account, err error) {
	fail := func(err error) (account, error) {
		return account{}, fmt.Errorf("look into the root file system: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fail(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail(err)
	}
	if err := mount.All(root, dir); err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, mount.UnmountAll(dir, unix.MNT_DETACH)) }()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = unix.Close(fd) }()
	return accountAt(fd, b.User, b.Groups)
}

// ownNetwork gives the container's own network namespace the settings Docker
// has for it. The host's is left as it is.
func ownNetwork(linux *specs.Linux, netNS string) error {
	if netNS != "" {
		host, err := isOwnNetwork(netNS)
		if err != nil || host {
			return err
		}
	}
	all := map[string]string{}
	for _, s := range networkSysctls {
		all[strings.ReplaceAll(s.name, "/", ".")] = s.value
	}
	maps.Copy(all, linux.Sysctl)
	linux.Sysctl = all
	return nil
}

// isOwnNetwork reports whether a path is of this process's network namespace.
func isOwnNetwork(path string) (bool, error) {
	ours, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return false, fmt.Errorf("look at network namespace: %w", err)
	}
	theirs, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("look at network namespace: %w", err)
	}
	return os.SameFile(ours, theirs), nil
}

// withDevices denies the devices that runc does not add by itself.
func withDevices(r *specs.LinuxResources) *specs.LinuxResources {
	var out specs.LinuxResources
	if r != nil {
		out = *r
	}
	out.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	if out.Memory != nil && out.Memory.Swap != nil && !swapCounted() {
		memory := *out.Memory
		memory.Swap = nil
		out.Memory = &memory
	}
	return &out
}

// swapCounted reports whether this kernel bounds swap: runc fails where it
// does not.
func swapCounted() bool {
	if !hasHierarchies() {
		return true // with version 2, runc looks itself
	}
	_, err := os.Stat(filepath.Join(cgroupRoot, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

// rootPropagation lets the mounts of a container through to where one of its
// own mounts is shared with.
func rootPropagation(mounts []specs.Mount) string {
	found := ""
	for _, m := range mounts {
		switch {
		case slices.Contains(m.Options, "shared"), slices.Contains(m.Options, "rshared"):
			return "shared"
		case slices.Contains(m.Options, "slave"), slices.Contains(m.Options, "rslave"):
			found = "rslave"
		}
	}
	return cmp.Or(found, "rprivate")
}

// programRoot makes the root of the built-in image in dir: this program as
// the only one, mounted so that nobody can write it.
func programRoot(spec *specs.Spec, dir string, b bundle) ([]mount.Mount, account, error) {
	fail := func(err error) ([]mount.Mount, account, error) {
		return nil, account{}, fmt.Errorf("make root of this program: %w", err)
	}
	if err := errors.Join(fillProgramRoot(dir), os.Chmod(dir, 0o755)); err != nil { //nolint:gosec // every user enters it
		return fail(err)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fail(err)
	}
	spec.Mounts = append(slices.Clone(spec.Mounts), specs.Mount{
		Destination: probePath, Type: "bind", Source: self, Options: []string{"bind", "ro", "nosuid", "nodev", "rprivate"},
	})
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = unix.Close(fd) }()
	user, err := accountAt(fd, b.User, b.Groups)
	return []mount.Mount{{Type: "bind", Source: dir, Options: []string{"rbind"}}}, user, err
}
