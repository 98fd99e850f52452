package rootless

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"weft/engine/fault"
)

// Process is a command line of this program's to run inside.
type Process struct {
	Args []string // after the program's name
	Env  []string
	Dir  string // working directory

	In, Out, Err *os.File
	Terminal     bool // In is to be its controlling terminal

	Orphan syscall.Signal // what it gets when this process dies

	Signals <-chan os.Signal // passed on; nil: none
}

// insideVar, which is cmdenv.RootlessVar, tells a process that it runs inside: the PID, outside, of whoever
// had it run, and the holder's socket.
const insideVar = "WEFT_ROOTLESS"

// Run runs a process inside and gives how it ended.
func (w *World) Run(p Process) (syscall.WaitStatus, error) {
	c, err := w.dial()
	if err != nil {
		return 0, fault.Unavailable("reach the user namespace's holder: %w", err)
	}
	defer c.Close() //nolint:errcheck // nothing follows
	inside := insideVar + "=" + strconv.Itoa(os.Getpid()) + ":" + w.path(socketName)
	err = send(c, request{
		Op: opRun, Args: append([]string{w.cfg.Self}, p.Args...), Env: append(p.Env, inside), Dir: p.Dir,
		Terminal: p.Terminal, Orphan: p.Orphan,
	}, p.In, p.Out, p.Err)
	if err != nil {
		return 0, fault.Internal("run inside the user namespace: %w", err)
	}
	ended := make(chan reply, 1)
	lost := make(chan error, 1)
	go func() { // ends with the connection
		var r reply
		if _, err := receive(c, &r); err != nil {
			lost <- err
			return
		}
		ended <- r
	}()
	for {
		select {
		case r := <-ended:
			if err := r.err(); err != nil {
				return 0, fmt.Errorf("run inside the user namespace: %w", err)
			}
			if r.Status == nil {
				return 0, fault.Internal("run inside the user namespace: an answer without a status")
			}
			return syscall.WaitStatus(*r.Status), nil
		case err := <-lost:
			return 0, fault.Internal("the user namespace's holder was killed, and all that ran inside with it: %w", err)
		case sig := <-p.Signals:
			if number, ok := sig.(syscall.Signal); ok {
				_ = send(c, request{Op: opSignal, Signal: number}) // a holder that is gone is told of above
			}
		}
	}
}

// Outside is what a process inside has of the machine outside.
type Outside struct {
	Pid    int // of the process that had this one run
	socket string
}

// Inside gives what a process inside has of the outside; false for one that
// is not inside.
func Inside(getenv func(string) string) (Outside, bool) {
	pid, socket, ok := strings.Cut(getenv(insideVar), ":")
	number, err := strconv.Atoi(pid)
	if !ok || err != nil {
		return Outside{}, false
	}
	return Outside{Pid: number, socket: socket}, true
}

// Listen opens a port in the network namespace of the machine; network and
// address are as in package net, of TCP or UDP. The error has the kernel's as
// its cause.
func (o Outside) Listen(ctx context.Context, network, address string) (*os.File, error) {
	c, err := dial(o.socket)
	if err != nil {
		return nil, fault.Unavailable("reach the user namespace's holder: %w", err)
	}
	defer c.Close() //nolint:errcheck // the socket is what counts
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := send(c, request{Op: opListen, Proto: network, Addr: address}); err != nil {
		return nil, fault.Internal("ask for a port outside: %w", err)
	}
	var r reply
	files, err := receive(c, &r)
	if err != nil {
		return nil, fault.Internal("ask for a port outside: %w", err)
	}
	if err := r.err(); err != nil {
		closeAll(files)
		return nil, err
	}
	if len(files) != 1 {
		closeAll(files)
		return nil, fault.Internal("ask for a port outside: no socket came")
	}
	return files[0], nil
}

var errNotTwo = errors.New("not a listener")

// portOf opens a socket and gives it as a file.
func portOf(ctx context.Context, network, address string) (*os.File, error) {
	var lc net.ListenConfig
	if strings.HasPrefix(network, "tcp") {
		l, err := lc.Listen(ctx, network, address)
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // the file is another descriptor
		if t, ok := l.(*net.TCPListener); ok {
			return t.File()
		}
		return nil, errNotTwo
	}
	c, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // as above
	if u, ok := c.(*net.UDPConn); ok {
		return u.File()
	}
	return nil, errNotTwo
}
