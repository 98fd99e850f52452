package runtime

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/docker/docker/oci/caps"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"weft/engine/testenv"
)

// profiles are the default profile with all capabilities and with none.
func profiles() []*specs.LinuxSeccomp {
	var out []*specs.LinuxSeccomp
	for _, bounding := range [][]string{caps.GetAllCapabilities(), nil} {
		out = append(out, seccomp.DefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: bounding}}}))
	}
	return out
}

// TestSyscallNumbers compares the table with what the profile names and
// golang.org/x/sys numbers: a new version of either may need more.
func TestSyscallNumbers(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "zsysnum_linux_"+goruntime.GOARCH+".go"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)`).FindAllStringSubmatch(string(source), -1) {
		if all[strings.ToLower(m[1])], err = strconv.ParseUint(m[2], 10, 32); err != nil {
			t.Fatal(err)
		}
	}
	named := map[string]bool{}
	for _, p := range profiles() {
		for _, rule := range p.Syscalls {
			for _, name := range rule.Names {
				named[name] = true
				want, here := all[name]
				if got, ok := numberOf(name); ok != here || uint64(got) != want {
					t.Errorf("%s is %d %v, want %d %v", name, got, ok, want, here)
				}
			}
		}
	}
	for _, c := range syscallNumbers {
		if !named[c.name] {
			t.Errorf("no profile names %s", c.name)
		}
	}
}

// TestCallFilter runs filters on calls, as the kernel does.
func TestCallFilter(t *testing.T) {
	if goruntime.GOARCH != "amd64" && goruntime.GOARCH != "arm64" {
		testenv.Lacks(t, "the test knows no filter of %s", goruntime.GOARCH)
	}
	const (
		allowed = uint32(unix.SECCOMP_RET_ALLOW)
		refused = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
		absent  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
	)
	mighty, weak := profiles()[0], profiles()[1]
	for _, c := range []struct {
		name     string
		profile  *specs.LinuxSeccomp
		number   uint32
		argument uint64
		want     uint32
	}{
		{"read", weak, unix.SYS_READ, 0, allowed},
		{"execve", weak, unix.SYS_EXECVE, 0, allowed},
		{"mount", weak, unix.SYS_MOUNT, 0, refused},
		{"mount", mighty, unix.SYS_MOUNT, 0, allowed},
		{"keyctl", mighty, unix.SYS_KEYCTL, 0, refused},
		{"thread", weak, unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD, allowed},
		{"namespace", weak, unix.SYS_CLONE, unix.CLONE_NEWUSER, refused},
		{"namespace", mighty, unix.SYS_CLONE, unix.CLONE_NEWUSER, allowed},
		{"clone3", weak, unix.SYS_CLONE3, 0, absent},
		{"clone3", mighty, unix.SYS_CLONE3, 0, allowed},
		{"inet", weak, unix.SYS_SOCKET, unix.AF_INET, allowed},
		{"vsock", weak, unix.SYS_SOCKET, unix.AF_VSOCK, refused},
		{"vsock behind an upper half", weak, unix.SYS_SOCKET, 1<<32 | unix.AF_VSOCK, refused},
		{"personality", weak, unix.SYS_PERSONALITY, 0xffffffff, allowed},
		{"personality", weak, unix.SYS_PERSONALITY, 0x20008, allowed},
		{"personality", weak, unix.SYS_PERSONALITY, 0x40000, refused},
		{"io_uring", mighty, unix.SYS_IO_URING_SETUP, 0, refused},
		{"x32", mighty, x32Bit | unix.SYS_READ, 0, absent},
		{"unknown", mighty, 5000, 0, refused},
	} {
		prog, err := callFilter(c.profile)
		if err != nil {
			t.Fatal(err)
		}
		if got := verdictOf(t, prog, auditArch, c.number, c.argument); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
		if got := verdictOf(t, prog, auditArch+1, c.number, c.argument); got != refused {
			t.Errorf("%s of another architecture: %#x", c.name, got)
		}
	}
	unknown := *weak
	unknown.Syscalls = slices.Concat(weak.Syscalls, []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActKill}})
	if _, err := callFilter(&unknown); err == nil {
		t.Error("a rule that is not understood is passed over")
	}
}

// verdictOf interprets a filter.
func verdictOf(t *testing.T, prog []unix.SockFilter, arch, number uint32, argument uint64) uint32 {
	t.Helper()
	data := map[uint32]uint32{offArch: arch, offNumber: number, offArgs: uint32(argument)}
	acc := uint32(0)
	for at := 0; at < len(prog); at++ {
		in := prog[at]
		yes := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = data[in.K]
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = acc == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = acc >= in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			yes = acc > in.K
		default:
			t.Fatalf("instruction %#x", in.Code)
		}
		if yes {
			at += int(in.Jt)
		} else {
			at += int(in.Jf)
		}
	}
	t.Fatal("the filter has no end")
	return 0
}
