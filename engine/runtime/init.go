package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	goruntime "runtime"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sandbox is what a shim tells the process that is to become a container's.
type sandbox struct {
	Bundle bundle
	Root   string // a directory to mount the root on
	// Joined is set for a further process: it is in the container's namespaces
	// and has nothing to build.
	Joined bool
}

// Exit codes of a command that could not be executed, as shells and Docker
// have them, and of one whose end nobody saw, as dockerd has it.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
	codeSignal        = 128
	codeKilled        = codeSignal + int(unix.SIGKILL)
	codeLost          = 255
)

// ExecError is a command that could not be executed. Code is the exit code
// that goes with it: 127 when the command does not exist, 126 otherwise.
type ExecError struct {
	Code int
	Msg  string
}

// Error gives Docker's words, without the parts that name its components.
func (e *ExecError) Error() string { return "unable to start container process: " + e.Msg }

// InvalidParameter marks the error, in the way of containerd/errdefs, as one
// of the caller's making (HTTP 400).
func (e *ExecError) InvalidParameter() {}

// InitMain is the process's life before it becomes the container's command:
// PID 1 of new namespaces, or a further process in them, with descriptor 3 the
// connection to its shim. It returns an exit code only when it could not; the
// shim has been told why.
func InitMain([]string) int {
	// Namespaces, identity and filters below are this thread's, and the
	// thread that executes a program takes its own along.
	goruntime.LockOSThread()
	ctl := os.NewFile(ctlFD, "control")
	unix.CloseOnExec(ctlFD)
	unix.CloseOnExec(programFD)
	var box sandbox
	if err := readLine(bufio.NewReader(ctl), &box); err != nil {
		return 1
	}
	err := box.run()
	var failed *ExecError
	if !errors.As(err, &failed) {
		failed = &ExecError{Msg: err.Error()}
	}
	_ = writeLine(ctl, started{Error: failed})
	return 1
}

// run builds the sandbox and executes the command. It returns only errors.
func (b sandbox) run() error {
	unix.Umask(0o022)
	if b.Joined {
		if err := b.join(); err != nil {
			return err
		}
	} else if err := b.build(); err != nil {
		return err
	}
	if err := ownKeyring(); err != nil {
		return err
	}
	p := b.Bundle.Spec.Process
	if p.Terminal {
		if err := openConsole(!b.Joined); err != nil {
			return err
		}
	}
	user, err := findAccount(b.Bundle.User, b.Bundle.Groups)
	if err != nil {
		return err
	}
	if err := checkMapped(user); err != nil {
		return err
	}
	if err := ownStreams(user); err != nil {
		return err
	}
	if err := bound(p); err != nil {
		return err
	}
	return b.execute(p, user)
}

// build makes the container around its first process.
func (b sandbox) build() error {
	if err := dieWithShim(); err != nil {
		return err
	}
	// From here on the container sees its own cgroup as the root of all.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make cgroup namespace: %w", err)
	}
	hostNetwork, err := enterNetwork(b.Bundle.netNS())
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(b.Bundle.Spec.Hostname)); err != nil {
		return fmt.Errorf("set hostname %q: %w", b.Bundle.Spec.Hostname, err)
	}
	if err := unix.Setdomainname([]byte(b.Bundle.Spec.Domainname)); err != nil {
		return fmt.Errorf("set domain name %q: %w", b.Bundle.Spec.Domainname, err)
	}
	return b.buildRoot(hostNetwork)
}

// join finds a further process its place.
func (b sandbox) join() error {
	dir := b.Bundle.Spec.Process.Cwd
	if err := unix.Chdir(dir); err != nil {
		return &ExecError{Msg: fmt.Sprintf("chdir to cwd (%q): %v", dir, err)}
	}
	return nil
}

// ownKeyring leaves the keys of the session the engine was started in
// (session-keyring(7)). Not every kernel, nor every container around us, has
// keyrings.
func ownKeyring() error {
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("leave the session's keyring: %w", err)
	}
	return nil
}

func dieWithShim() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the shim: %w", err)
	}
	return nil
}

// execute makes this thread the user and becomes the command.
func (b sandbox) execute(p *specs.Process, user account) error {
	env := p.Env
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		env = append(slices.Clone(env), "HOME="+user.Home)
	}
	// Without no_new_privs the filter needs the privileges that go next.
	filter := func(now bool) error {
		if b.Bundle.AllSyscalls || !now {
			return nil
		}
		return filterSyscalls(b.Bundle.Spec)
	}
	if err := filter(!p.NoNewPrivileges); err != nil {
		return err
	}
	if err := dropPrivileges(user, p); err != nil {
		return err
	}
	if !b.Joined {
		if err := dieWithShim(); err != nil { // a change of identity clears it
			return err
		}
		if shimGone() {
			return errors.New("the shim died")
		}
	}
	file, err := lookPath(p.Args, env)
	if err != nil {
		return err
	}
	if err := unix.CloseRange(ctlFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	if err := filter(p.NoNewPrivileges); err != nil {
		return err
	}
	err = unix.Exec(file, p.Args, env)
	return &ExecError{Code: codeNotExecutable, Msg: fmt.Sprintf("exec: %q: %v", p.Args[0], err)}
}

// shimGone reports whether the shim died before the kernel was told to tell.
func shimGone() bool {
	fds := []unix.PollFd{{Fd: ctlFD}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// ownStreams gives the standard streams to the user, who could not open
// /dev/stdout and the like otherwise.
func ownStreams(user account) error {
	for fd := range ctlFD {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("own standard streams: %w", err)
		}
		pipe := st.Mode&unix.S_IFMT == unix.S_IFIFO
		console := st.Mode&unix.S_IFMT == unix.S_IFCHR && unix.Major(st.Rdev) != memoryMajor
		if !(pipe || console) || int(st.Uid) == user.UID {
			continue
		}
		gid := user.GID
		if console {
			gid = int(st.Gid) // the terminals' group
		}
		if err := unix.Fchown(fd, user.UID, gid); err != nil {
			return fmt.Errorf("own standard streams: %w", err)
		}
	}
	return nil
}

// memoryMajor is the major number of /dev/null and its like
// (MEM_MAJOR of <linux/major.h>).
const memoryMajor = 1

// lookPath finds the command in the sandbox's root.
func lookPath(argv, env []string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", &ExecError{Code: codeNotFound, Msg: "no command specified"}
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		if err := executable(name); err != nil {
			return "", execError(name, err)
		}
		return name, nil
	}
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			if file := path.Join(dir, name); path.IsAbs(file) && executable(file) == nil {
				return file, nil
			}
		}
	}
	return "", &ExecError{Code: codeNotFound, Msg: fmt.Sprintf("exec: %q: executable file not found in $PATH", name)}
}

func executable(file string) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return unix.EISDIR
	}
	if err := unix.Access(file, unix.X_OK); err != nil {
		return unix.EACCES
	}
	return nil
}

func execError(name string, err error) error {
	code := codeNotExecutable
	if errors.Is(err, os.ErrNotExist) {
		code = codeNotFound
	}
	return &ExecError{Code: code, Msg: fmt.Sprintf("exec: %q: %v", name, err)}
}
