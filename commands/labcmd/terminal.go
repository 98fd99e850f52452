package labcmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/creack/pty"
	"github.com/moby/term"
	"github.com/spf13/cobra"

	"weft/engine/rootless"
)

// takesTerminal reports whether a command runs programs that want a terminal
// of their own.
func takesTerminal(cmd *cobra.Command) bool { return cmd.Name() == "exec" || cmd.Name() == "shell" }

// runOnTerminal runs a process on a terminal of its own, joined to this one:
// it is in another session, so this one can't be its controlling terminal.
func runOnTerminal(world *rootless.World, p rootless.Process) (status syscall.WaitStatus, err error) {
	outer := p.In
	ours, theirs, err := pty.Open()
	if err != nil {
		return 0, fmt.Errorf("make a terminal: %w", err)
	}
	defer ours.Close() //nolint:errcheck // nothing follows
	defer func() {
		if theirs != nil {
			_ = theirs.Close()
		}
	}()
	if err := pty.InheritSize(outer, ours); err != nil {
		return 0, fmt.Errorf("make a terminal: %w", err)
	}
	state, err := term.SetRawTerminal(outer.Fd())
	if err != nil {
		return 0, fmt.Errorf("take the terminal over: %w", err)
	}
	defer func() { err = errors.Join(err, term.RestoreTerminal(outer.Fd(), state)) }()
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, syscall.SIGWINCH)
	defer signal.Stop(sizes)
	go func() { // ends with this process
		for range sizes {
			_ = pty.InheritSize(outer, ours)
		}
	}()
	p.In, p.Terminal = theirs, true
	out := p.Out
	for _, f := range []**os.File{&p.Out, &p.Err} {
		if term.IsTerminal((*f).Fd()) {
			*f = theirs
		}
	}
	if p.Out != theirs {
		out = outer // what the terminal says goes to the terminal
	}
	go func() { _, _ = io.Copy(ours, outer) }() // as above: a read of a terminal can't be ended
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = io.Copy(out, ours) // EIO when the last process has closed it
	}()
	status, err = world.Run(p)
	_ = theirs.Close()
	theirs = nil
	<-said
	return status, err
}
