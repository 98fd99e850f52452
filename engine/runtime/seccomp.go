package runtime

import (
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Offsets in struct seccomp_data (<linux/seccomp.h>); little-endian, as both
// supported architectures are. Of an argument it is the lower half: those the
// profile is about are of 32 bits to the kernel, whatever is in the upper one.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
	argSize   = 8
)

// x32Bit marks the system calls of amd64's 32-bit pointer ABI.
const x32Bit = 0x40000000

// syscallNumber is a system call's name in profiles and its number here.
type syscallNumber struct {
	name   string
	number uint32
}

// numberOf gives a system call's number; false: this architecture has none of
// that name.
func numberOf(name string) (uint32, bool) {
	i, found := slices.BinarySearchFunc(syscallNumbers[:], name, func(c syscallNumber, name string) int { return strings.Compare(c.name, name) })
	if !found {
		return 0, false
	}
	return syscallNumbers[i].number, true
}

// filterSyscalls installs the filter for what this thread executes: the default
// profile of Docker and containerd, which depends on the process's
// capabilities.
func filterSyscalls(spec *specs.Spec) error {
	prog, err := callFilter(seccomp.DefaultProfile(spec))
	if err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]} //nolint:gosec // a few hundred instructions
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0)
	goruntime.KeepAlive(prog)
	if err != nil {
		return fmt.Errorf("install system call filter: %w", err)
	}
	return nil
}

// callFilter gives a profile as classic BPF. Calls of other ABIs, which have
// other numbers, are none.
func callFilter(profile *specs.LinuxSeccomp) ([]unix.SockFilter, error) {
	if auditArch == 0 {
		return nil, fault.Unsupported("no system call filter for %s: containers run on amd64 and arm64", goruntime.GOARCH)
	}
	otherwise, err := verdict(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	prog := []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0), otherwise,
		load(offNumber),
		jump(unix.BPF_JGE, x32Bit, 0, 1), fail(unix.ENOSYS),
	}
	var always []uint32
	var conditional []unix.SockFilter
	for _, rule := range profile.Syscalls {
		for _, name := range rule.Names {
			number, here := numberOf(name)
			if !here {
				continue
			}
			if len(rule.Args) == 0 && rule.Action == specs.ActAllow {
				always = append(always, number)
				continue
			}
			block, err := ruleBlock(number, rule)
			if err != nil {
				return nil, err
			}
			conditional = append(conditional, block...)
		}
	}
	return slices.Concat(prog, allowAll(always), conditional, []unix.SockFilter{otherwise}), nil
}

// allowAll allows calls by ranges of their numbers.
func allowAll(numbers []uint32) (prog []unix.SockFilter) {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[n-1]+1 {
			n++
		}
		first, last := numbers[0], numbers[n-1]
		prog = append(prog, jump(unix.BPF_JGE, first, 0, 2), jump(unix.BPF_JGT, last, 1, 0), allow())
		numbers = numbers[n:]
	}
	return prog
}

// ruleBlock is a rule for one call. Where it does not hold, the next one is
// asked, with the call's number loaded.
func ruleBlock(number uint32, rule specs.LinuxSyscall) ([]unix.SockFilter, error) {
	answer, err := verdict(rule.Action, rule.ErrnoRet)
	if err != nil {
		return nil, err
	}
	type check struct {
		prepare []unix.SockFilter
		value   uint32
		equal   bool
	}
	var checks []check
	for _, a := range rule.Args {
		c := check{prepare: []unix.SockFilter{load(offArgs + argSize*uint32(a.Index))}, equal: true} //nolint:gosec // below 6
		switch a.Op {
		case specs.OpEqualTo:
			c.value = uint32(a.Value) //nolint:gosec // see offArgs
		case specs.OpNotEqual:
			c.value, c.equal = uint32(a.Value), false //nolint:gosec // see offArgs
		case specs.OpMaskedEqual:
			c.prepare = append(c.prepare, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: uint32(a.Value)}) //nolint:gosec // see offArgs
			c.value = uint32(a.ValueTwo)                                                                                       //nolint:gosec // see offArgs
		default:
			return nil, fault.Unsupported("system call filter: an argument compared by %s", a.Op)
		}
		checks = append(checks, c)
	}
	// From the end, as jumps go forward: to the last instruction, which loads
	// the number again.
	block := []unix.SockFilter{answer, load(offNumber)}
	for _, c := range slices.Backward(checks) {
		away := uint8(len(block) - 1) //nolint:gosec // a few
		test := jump(unix.BPF_JEQ, c.value, 0, away)
		if !c.equal {
			test = jump(unix.BPF_JEQ, c.value, away, 0)
		}
		block = slices.Concat(c.prepare, []unix.SockFilter{test}, block)
	}
	return append([]unix.SockFilter{jump(unix.BPF_JEQ, number, 0, uint8(len(block)))}, block...), nil //nolint:gosec // a few
}

// verdict is what is answered to a call. An error number that is not given is
// EPERM, as in runc.
func verdict(action specs.LinuxSeccompAction, errno *uint) (unix.SockFilter, error) {
	switch {
	case action == specs.ActAllow:
		return allow(), nil
	case action != specs.ActErrno:
		return unix.SockFilter{}, fault.Unsupported("system call filter: action %s", action)
	case errno != nil:
		return fail(unix.Errno(*errno)), nil
	}
	return fail(unix.EPERM), nil
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump skips yes or no instructions by the outcome of a comparison with k.
func jump(how uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

func allow() unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
}

func fail(errno unix.Errno) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)} //nolint:gosec // small
}
