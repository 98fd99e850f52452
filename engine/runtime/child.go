package runtime

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
)

// child is a process this one has started.
type child struct {
	proc *os.Process
	io   *stdio
}

func (c *child) id() (kernel.Process, error) { return kernel.Identify(c.proc.Pid) }

func (c *child) signal(sig syscall.Signal) error { return c.proc.Signal(sig) }

func (c *child) wait() model.ExitStatus { return exitStatus(c.proc.Wait()) }

func (c *child) endInput() { _ = c.io.stdin.ours.Close() } // nil without standard input, which Close takes

func (c *child) resize(rows, cols uint16) error {
	if c.io.console == nil {
		return nil
	}
	raw, err := c.io.console.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	return errors.Join(err, failed)
}

// exitStatus gives Docker's number for how a process ended.
func exitStatus(state *os.ProcessState, err error) model.ExitStatus {
	if err != nil {
		return model.ExitStatus{Code: codeLost, Err: fmt.Sprintf("wait for container process: %v", err)}
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return model.ExitStatus{Code: codeSignal + int(ws.Signal())}
	}
	return model.ExitStatus{Code: state.ExitCode()}
}
