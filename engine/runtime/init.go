package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	goruntime "runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// sandbox is what the shim tells its init.
type sandbox struct {
	Bundle bundle
	Root   string // a directory to mount the root on
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
// PID 1 of new namespaces, with descriptor 3 the connection to its shim. It
// returns an exit code only when it could not; the shim has been told why.
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
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the shim: %w", err)
	}
	hostNetwork, err := enterNetwork(b.Bundle.NetNS)
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(b.Bundle.Hostname)); err != nil {
		return fmt.Errorf("set hostname %q: %w", b.Bundle.Hostname, err)
	}
	if err := b.buildRoot(hostNetwork); err != nil {
		return err
	}
	if err := b.ownStreams(); err != nil {
		return err
	}
	if err := dropPrivileges(b.Bundle.User); err != nil {
		return err
	}
	// A change of identity clears it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the shim: %w", err)
	}
	if shimGone() {
		return errors.New("the shim died")
	}
	file, err := lookPath(b.Bundle.Argv, b.Bundle.Env)
	if err != nil {
		return err
	}
	if err := unix.CloseRange(ctlFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	if err := filterSyscalls(); err != nil {
		return err
	}
	err = unix.Exec(file, b.Bundle.Argv, b.Bundle.Env)
	return &ExecError{Code: codeNotExecutable, Msg: fmt.Sprintf("exec: %q: %v", b.Bundle.Argv[0], err)}
}

// shimGone reports whether the shim died before the kernel was told to tell.
func shimGone() bool {
	fds := []unix.PollFd{{Fd: ctlFD}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// ownStreams gives the standard streams to the user, who could not open
// /dev/stdout and the like otherwise.
func (b sandbox) ownStreams() error {
	for fd := range ctlFD {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("own standard streams: %w", err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFIFO || int(st.Uid) == b.Bundle.User.UID {
			continue
		}
		if err := unix.Fchown(fd, b.Bundle.User.UID, b.Bundle.User.GID); err != nil {
			return fmt.Errorf("own standard streams: %w", err)
		}
	}
	return nil
}

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
