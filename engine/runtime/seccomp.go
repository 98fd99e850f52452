package runtime

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Offsets in struct seccomp_data (<linux/seccomp.h>); little-endian, as both
// supported architectures are.
const (
	offNumber = 0
	offArch   = 4
	offArg0   = 16 // its lower half
)

// x32Bit marks the system calls of amd64's 32-bit pointer ABI.
const x32Bit = 0x40000000

// deniedCalls are those Docker's default profile allows only with a capability
// the container does not have (profiles/seccomp/default_linux.go). Most fail
// without it anyhow; the filter is for those that do not inside a user
// namespace, and for the kernel's sake.
var deniedCalls = []uint32{
	unix.SYS_ACCT, unix.SYS_ADD_KEY, unix.SYS_BPF, unix.SYS_CLOCK_ADJTIME, unix.SYS_CLOCK_SETTIME,
	unix.SYS_DELETE_MODULE, unix.SYS_FANOTIFY_INIT, unix.SYS_FINIT_MODULE, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_INIT_MODULE, unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER, unix.SYS_IO_URING_SETUP, unix.SYS_KCMP, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEYCTL, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_MOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_MOVE_MOUNT, unix.SYS_MOVE_PAGES, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_NFSSERVCTL,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_OPEN_TREE, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PERSONALITY,
	unix.SYS_PIDFD_GETFD, unix.SYS_PIVOT_ROOT, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
	unix.SYS_PTRACE, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_REBOOT, unix.SYS_REQUEST_KEY,
	unix.SYS_SETDOMAINNAME, unix.SYS_SETHOSTNAME, unix.SYS_SETNS, unix.SYS_SETTIMEOFDAY, unix.SYS_SWAPOFF,
	unix.SYS_SWAPON, unix.SYS_SYSLOG, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_USERFAULTFD,
	unix.SYS_VHANGUP,
}

const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// filterSyscalls installs the filter for what this thread executes.
func filterSyscalls() error {
	prog, err := callFilter(goruntime.GOARCH)
	if err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]} //nolint:gosec // some sixty instructions
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0)
	goruntime.KeepAlive(prog)
	if err != nil {
		return fmt.Errorf("install system call filter: %w", err)
	}
	return nil
}

// callFilter gives the filter as classic BPF.
func callFilter(arch string) ([]unix.SockFilter, error) {
	archs := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}
	audit, ok := archs[arch]
	if !ok {
		return nil, fault.Unsupported("no system call filter for %s: containers run on amd64 and arm64", arch)
	}
	deny := ret(uint32(unix.EPERM))
	absent := ret(uint32(unix.ENOSYS))
	prog := []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, audit, 1, 0), deny, // a foreign ABI has other numbers
		load(offNumber),
		jump(unix.BPF_JGE, x32Bit, 0, 1), absent,
		// clone3 hides its flags behind a pointer; libraries fall back to clone.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), absent,
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(offArg0),
		jump(unix.BPF_JSET, newNamespaces, 0, 1), deny,
		ret(0),
		// Sockets to the hypervisor know no namespaces.
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 4),
		load(offArg0),
		jump(unix.BPF_JEQ, unix.AF_VSOCK, 0, 1), deny,
		ret(0),
	}
	for _, nr := range deniedCalls {
		prog = append(prog, jump(unix.BPF_JEQ, nr, 0, 1), deny)
	}
	return append(prog, ret(0)), nil
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump skips yes or no instructions by the outcome of a comparison with k.
func jump(how uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

// ret allows the call, or fails it with an error number that is not 0.
func ret(errno uint32) unix.SockFilter {
	verdict := uint32(unix.SECCOMP_RET_ALLOW)
	if errno != 0 {
		verdict = unix.SECCOMP_RET_ERRNO | errno
	}
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
}
