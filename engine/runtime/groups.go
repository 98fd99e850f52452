package runtime

import (
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setGroups sets this thread's supplementary groups.
func setGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0)
	goruntime.KeepAlive(groups)
	if errno != 0 {
		return errno
	}
	return nil
}
