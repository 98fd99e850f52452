package runtime

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// keptCaps are the capabilities the built-in image needs of those Docker gives
// (oci/caps/defaults.go): raw sockets for ping, low ports for its servers.
var keptCaps = []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE}

// dropPrivileges makes this thread the user, with keptCaps if that is root and
// with none otherwise, and without a way to gain any.
func dropPrivileges(user account) error {
	var kept [2]uint32
	for _, c := range keptCaps {
		kept[c/32] |= 1 << (c % 32)
	}
	for c := uintptr(0); ; c++ {
		if c/32 < 2 && kept[c/32]&(1<<(c%32)) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the kernel knows no more
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	if err := become(user); err != nil {
		return err
	}
	if user.UID != 0 {
		kept = [2]uint32{}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: kept[0], Permitted: kept[0]},
		{Effective: kept[1], Permitted: kept[1]},
	}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// become sets the thread's user and groups. The system calls are made by hand:
// the syscall package's apply to all threads of the process, and those in
// other namespaces or states make it fail.
func become(user account) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 && user.UID != 0 {
		return fmt.Errorf("drop groups: %w", errno)
	}
	gid, uid := uintptr(user.GID), uintptr(user.UID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("become group %d: %w", gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	return nil
}
