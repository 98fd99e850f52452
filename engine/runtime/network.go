package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// enterNetwork puts this thread into the network namespace at path, or into a
// new one with nothing but a working loopback device. It reports whether that
// is the namespace the thread was in.
func enterNetwork(path string) (same bool, err error) {
	if path == "" {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return false, fmt.Errorf("make network namespace: %w", err)
		}
		return false, raiseLoopback()
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("enter network namespace: open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var ours, theirs unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ours); err != nil {
		return false, fmt.Errorf("enter network namespace: %w", err)
	}
	if err := unix.Fstat(fd, &theirs); err != nil {
		return false, fmt.Errorf("enter network namespace: %w", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return false, fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return ours.Dev == theirs.Dev && ours.Ino == theirs.Ino, nil
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	return nil
}

// networkSysctls are Docker's defaults for a container's own namespace
// (daemon/oci_linux.go, withCommonOptions): ports below 1024 and ping for every
// user. They are written through the sandbox's /proc before it is read-only.
var networkSysctls = []struct{ name, value string }{
	{"net/ipv4/ip_unprivileged_port_start", "0"},
	{"net/ipv4/ping_group_range", "0 2147483647"},
}

// setNetworkSysctls sets them through the proc file system at proc.
func setNetworkSysctls(proc string) error {
	for _, s := range networkSysctls {
		file := filepath.Join(proc, "sys", s.name)
		err := os.WriteFile(file, []byte(s.value), 0o600)
		if errors.Is(err, unix.EINVAL) {
			// In a user namespace the range must be of mapped groups.
			err = os.WriteFile(file, []byte("0 0"), 0o600)
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return nil
}
