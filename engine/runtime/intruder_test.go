package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/model"
	"weft/engine/testenv"
)

// intruder is the applet that goes after the host from a container of an
// image, with all that root has in one. It prints what it managed to do.
// args are a process of the host, a key of its System V shared memory and a
// name that is in the host's root.
func intruder(args []string) int {
	host, _ := strconv.Atoi(args[0])
	key, _ := strconv.Atoi(args[1])
	done := []string{}
	managed := func(what string, err error) {
		if err == nil {
			done = append(done, what)
		}
	}
	for name, try := range attacks(host, uintptr(key)) {
		managed(name, try())
	}
	for _, dir := range []string{"/", "/dev", "/dev/shm", "/volume", "/tmpfs"} {
		done = append(done, openDevices(dir)...)
	}
	managed("open a device of the host", openable("/device"))
	if err := openable("/empty"); err != nil { // as people hide files
		done = append(done, "not even /dev/null: "+err.Error())
	}
	managed("leave the root", leaveRoot(args[2]))
	slices.Sort(done)
	_ = json.NewEncoder(os.Stdout).Encode(done)
	_ = syscall.Kill(-1, syscall.SIGKILL) // everybody it can see
	return 0
}

func attacks(host int, key uintptr) map[string]func() error {
	all := map[string]func() error{
		"see the host's process": func() error { _, err := os.Stat(fmt.Sprint("/proc/", host)); return err },
		"signal it":              func() error { return syscall.Kill(host, 0) },
		"trace it":               raw(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(host)),
		"open it":                func() error { _, err := unix.PidfdOpen(host, 0); return err },
		"trace init":             raw(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1),
		"shared memory":          raw(unix.SYS_SHMGET, key, 0, 0),
		"abstract socket":        func() error { _, err := net.Dial("unix", hostSocket); return err },
		"hypervisor's socket":    func() error { _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); return err },
		"keyring":                raw(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, 0xfffffffc, 1),
		"key":                    raw(unix.SYS_ADD_KEY, 0, 0, 0, 0),
		"set the clock":          func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{}) },
		"open tree":              func() error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err },
		"file system":            func() error { _, err := unix.Fsopen("proc", 0); return err },
		"mount attributes": func() error {
			return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_NODEV})
		},
		"remount /proc/sys":       func() error { return unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"unmount what masks":      func() error { return unix.Unmount("/proc/keys", 0) },
		"bind":                    func() error { return unix.Mount("/proc", "/tmp", "", unix.MS_BIND, "") },
		"network administration":  raw(unix.SYS_SETNS, 0, unix.CLONE_NEWNET),
		"handle":                  raw(unix.SYS_NAME_TO_HANDLE_AT, 0, 0, 0, 0),
		"ports of the machine":    rawNamed("ioperm", 0x80, 1, 1),
		"personality":             raw(unix.SYS_PERSONALITY, 0x0040000), // ADDR_NO_RANDOMIZE
		"virtual machine":         rawNamed("vm86"),
		"core dumps":              write("/proc/sys/kernel/core_pattern"),
		"modules":                 write("/proc/sys/kernel/modprobe"),
		"devices' helper":         write("/sys/kernel/uevent_helper"),
		"power":                   write("/sys/power/state"),
		"interrupts":              write("/proc/irq/default_smp_affinity"),
		"kernel memory":           openerOf("/proc/kcore"),
		"the host's keys":         nonEmpty("/proc/keys"),
		"timers":                  nonEmpty("/proc/timer_list"),
		"files of other mounts":   openerOf("/proc/1/root/../../../proc/" + strconv.Itoa(host) + "/status"),
		"cgroup":                  func() error { return os.Mkdir(filepath.Join(cgroupDir(), "x"), 0o755) },
		"cgroup's release agent":  write("/sys/fs/cgroup/memory/release_agent"),
		"limits":                  write("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
		"oom score below its own": func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) },
	}
	for name, nr := range map[string]uintptr{
		"namespaces": unix.SYS_UNSHARE, "io_uring": unix.SYS_IO_URING_SETUP, "userfaultfd": unix.SYS_USERFAULTFD, "bpf": unix.SYS_BPF, "perf": unix.SYS_PERF_EVENT_OPEN,
	} {
		all[name] = raw(nr, unix.CLONE_NEWUSER)
	}
	return all
}

// cgroupDir is where a container sees its own cgroup.
func cgroupDir() string {
	if dir := "/sys/fs/cgroup/memory"; hasHierarchies() {
		return dir
	}
	return cgroupRoot
}

func openable(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func openerOf(name string) func() error { return func() error { return openable(name) } }

// rawNamed is raw for a call that not every architecture has.
func rawNamed(name string, args ...uintptr) func() error {
	number, ok := numberOf(name)
	if !ok {
		return func() error { return unix.ENOSYS }
	}
	return raw(uintptr(number), args...)
}

func nonEmpty(name string) func() error {
	return func() error {
		b, err := os.ReadFile(name)
		if err == nil && len(b) == 0 {
			err = errors.New("empty")
		}
		return err
	}
}

// openDevices makes nodes of devices a machine has and opens them.
func openDevices(dir string) (opened []string) {
	for _, d := range []struct {
		kind         uint32
		major, minor uint32
	}{
		{unix.S_IFBLK, 7, 0},
		{unix.S_IFBLK, 8, 0},
		{unix.S_IFBLK, 253, 0},
		{unix.S_IFBLK, 254, 0},
		{unix.S_IFBLK, 259, 0},
		{unix.S_IFCHR, 1, 1},
		{unix.S_IFCHR, 1, 11},
		{unix.S_IFCHR, 4, 0},
		{unix.S_IFCHR, 5, 1},
		{unix.S_IFCHR, 10, 200},
		{unix.S_IFCHR, 10, 229},
	} {
		name := filepath.Join(dir, fmt.Sprintf("node-%d-%d", d.major, d.minor))
		if unix.Mknod(name, d.kind|0o600, int(unix.Mkdev(d.major, d.minor))) != nil {
			continue
		}
		if openable(name) == nil {
			opened = append(opened, name)
		}
		_ = os.Remove(name)
	}
	return opened
}

// leaveRoot climbs out of a chroot into the one around it.
func leaveRoot(marker string) error {
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	steps := []error{os.Mkdir("/tmp/jail", 0o755), unix.Chroot("/tmp/jail"), unix.Fchdir(root)}
	for range 20 {
		steps = append(steps, unix.Chdir(".."))
	}
	if err := errors.Join(append(steps, unix.Chroot("."))...); err != nil {
		return err
	}
	_, err = os.Stat(marker)
	return err
}

// A container of a foreign image gets at nothing of the host or of another
// container, with the capabilities Docker's have.
func TestIntruder(t *testing.T) { onBoth(t, testIntruder) }

func testIntruder(t *testing.T, b *bed) {
	l, err := net.Listen("unix", hostSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	key := os.Getpid()
	shm, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.SysvShmCtl(shm, unix.IPC_RMID, nil) }()
	if _, err := unix.SysvShmGet(key, 0, 0); err != nil {
		t.Fatal(err)
	}
	device := filepath.Join(t.TempDir(), "loop") // opens without one in it
	if err := errors.Join(unix.Mknod(device, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))), openable(device)); err != nil {
		t.Logf("this machine has no loop device to try: %v", err)
	}
	root, volume := busybox(t), t.TempDir()
	neighbor := b.shell(busybox(t), "echo ready; sleep 1000", nil)
	b.start(neighbor)
	b.ready(neighbor)
	out, errs, code := b.output(root, "", func(s *Spec) {
		s.Process.Mounts = []model.Mount{
			{Kind: model.MountBind, Source: testSelf, Target: "/bin/probe", ReadOnly: true},
			{Kind: model.MountBind, Source: volume, Target: "/volume"},
			{Kind: model.MountBind, Source: device, Target: "/device"},
			{Kind: model.MountBind, Source: "/dev/null", Target: "/empty"},
			{Kind: model.MountTmpfs, Target: "/tmpfs", Options: []string{"dev"}},
		}
		s.Process.Args = []string{"/bin/probe", "intruder", strconv.Itoa(os.Getpid()), strconv.Itoa(key), filepath.Dir(volume)}
	})
	var managed []string
	if err := json.Unmarshal([]byte(out), &managed); err != nil || code != 0 {
		t.Fatalf("%v, code %d: %s %s", err, code, out, errs)
	}
	if b.daemon != nil { // runc lets every container use TUN devices, which are its network's
		managed = slices.DeleteFunc(managed, func(s string) bool { return strings.HasSuffix(s, "/node-10-200") })
	}
	if len(managed) > 0 {
		t.Errorf("it managed to:\n%s", strings.Join(managed, "\n"))
	}
	if st, err := b.State(t.Context(), neighbor); err != nil || !st.Running {
		t.Errorf("its neighbor: %+v %v", st, err)
	}
}

// A container that may make all system calls has none of the host's keys.
func TestKeyring(t *testing.T) { onBoth(t, testKeyring) }

func testKeyring(t *testing.T, b *bed) {
	own, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	if err != nil {
		testenv.Lacks(t, "this kernel has no keyrings: %v", err)
	}
	_, first, errs := b.runSpec(model.ProcessSpec{Args: []string{"keyring"}, AllSyscalls: true})
	_, second, _ := b.runSpec(model.ProcessSpec{Args: []string{"keyring"}, AllSyscalls: true})
	if !strings.HasSuffix(first, " <nil>\n") || first == second || strings.HasPrefix(first, strconv.Itoa(own)+" ") {
		t.Errorf("%q %q, the host's is %d (%s)", first, second, own, errs)
	}
}
