package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// HostMain is PID 1 of a host. args are the arguments after argv[0]: the
// host's directory. It returns the exit code when the host shuts down.
func HostMain(args []string) int {
	if len(args) != 1 || os.Getpid() != 1 {
		return complain(errors.New("this is PID 1 of a lab's host and not for people: use `weft lab up`"))
	}
	unix.CloseOnExec(ordersFD)
	unix.CloseOnExec(answersFD)
	orders, answers := os.NewFile(ordersFD, "orders"), os.NewFile(answersFD, "answers")
	var o order
	err := json.NewDecoder(orders).Decode(&o)
	if errors.Is(err, io.EOF) {
		return 0 // whoever made this host is gone
	}
	if err != nil {
		return complain(fmt.Errorf("read orders: %w", err))
	}
	_ = orders.Close()
	reply := func(err error) {
		var a answer
		if err != nil {
			a.Error = err.Error()
		}
		_ = json.NewEncoder(answers).Encode(a) // fails only when nobody listens any more
		_ = answers.Close()
	}
	h := Host{Name: o.Name, Boot: o.Boot, dir: args[0]}
	if err := furnish(h, o); err != nil {
		reply(err)
		return complain(err)
	}
	s, err := newSupervisor(h)
	if err != nil {
		reply(err)
		return complain(err)
	}
	return s.run(reply)
}

// complain logs to the host's console, which is this process's standard error.
func complain(err error) int {
	const console = 2
	_, _ = unix.Write(console, fmt.Appendf(nil, "%s: %v\n", HostName, err))
	return 1
}

// furnish makes the namespaces this process was started in a host.
func furnish(h Host, o order) error {
	if err := unix.Sethostname([]byte(h.Name)); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	if err := mountAll(h, o); err != nil {
		return err
	}
	if err := connect(o); err != nil {
		return fmt.Errorf("set the host's network up: %w", err)
	}
	return nil
}

// mountAll gives the host what must be its own of the file system.
func mountAll(h Host, o order) error {
	// Slave: what is unmounted outside goes here too, and nothing goes back.
	if err := mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return err
	}
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := mount("proc", "/proc", "proc", quiet, ""); err != nil {
		return err
	}
	if err := letNamespacesGo(); err != nil {
		return err
	}
	if err := mountSys(quiet); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := os.Mkdir(RunDir, 0o755); err != nil { //nolint:gosec // as any /run
		return fmt.Errorf("make %s: %w", RunDir, err)
	}
	if err := mount(h.RunPath(), RunDir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/hosts"); err != nil {
		return nil //nolint:nilerr // a machine without one has hosts without one
	}
	return mount(o.Hosts, "/etc/hosts", "", unix.MS_BIND, "")
}

// letNamespacesGo unmounts the namespaces that were mounted when the host was
// made, of this lab, another one or an engine outside: a copy of such a mount
// would keep them alive when their owners remove them.
func letNamespacesGo() error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("nsfs"))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range mounts {
		// Somebody outside may be faster, and remove the mount point as well. In a
		// user namespace mounts from outside are locked, or out of reach: they go
		// when their owner removes the mount point.
		err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
		}
	}
	return nil
}

// mountSys mounts a /sys that shows the host's own links and keeps the
// machine's cgroups in it.
func mountSys(flags uintptr) error {
	const cgroups = "/sys/fs/cgroup"
	tree, err := unix.OpenTree(unix.AT_FDCWD, cgroups, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if errors.Is(err, unix.ENOENT) { // a machine without cgroups
		return mount("sysfs", "/sys", "sysfs", flags, "")
	}
	if err != nil {
		return fmt.Errorf("take %s along: %w", cgroups, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount stays
	if err := mount("sysfs", "/sys", "sysfs", flags, ""); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, cgroups, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", cgroups, err)
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", filepath.Clean(target), err)
	}
	return nil
}

// connect brings the loopback and the underlay's link up.
func connect(o order) error {
	for _, name := range []string{"lo", eth} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		if name == eth {
			for _, p := range o.Addrs {
				// Nobody else has these addresses: without the detection of
				// duplicates (RFC 4862 section 5.4) they can be used at once.
				ipNet := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
				if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet, Flags: unix.IFA_F_NODAD}); err != nil {
					return fmt.Errorf("add address %s: %w", p, err)
				}
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring link %s up: %w", name, err)
		}
	}
	return nil
}

// Dispatch runs HostMain if argv, with the program's name first, is that of a
// host's PID 1, and gives the code to exit with. It is the first thing main,
// or a test's TestMain, has to do.
func Dispatch(argv []string) (code int, ours bool) {
	if len(argv) == 0 || argv[0] != HostName {
		return 0, false
	}
	return HostMain(argv[1:]), true
}
