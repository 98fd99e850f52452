package rootless

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a client asks the holder for. On a connection for opRun, opSignal may
// follow.
const (
	opRun    = "run"
	opSignal = "signal"
	opListen = "listen"
	opEnd    = "end"
)

// request is one packet to the holder.
type request struct {
	Op string `json:"op"`

	// opRun; the packet carries the three standard streams.
	Args     []string       `json:"args,omitempty"`
	Env      []string       `json:"env,omitempty"`
	Dir      string         `json:"dir,omitempty"`
	Terminal bool           `json:"terminal,omitempty"` // the first stream is to be its terminal
	Orphan   syscall.Signal `json:"orphan,omitempty"`   // sent when the client is gone
	outside  bool           // the holder's own: in the machine's network

	Signal syscall.Signal `json:"signal,omitempty"` // opSignal

	Proto string `json:"proto,omitempty"` // opListen: as in package net
	Addr  string `json:"addr,omitempty"`

	Force bool `json:"force,omitempty"` // opEnd: whatever runs
}

// reply is one packet from the holder. The one to opListen carries the socket.
type reply struct {
	Error  string        `json:"error,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`  // the kernel's, if it was the cause
	Status *uint32       `json:"status,omitempty"` // opRun: as wait(2) gave it
	Busy   bool          `json:"busy,omitempty"`   // opEnd: something runs
}

// err gives the error in a reply, nil if there is none.
func (r reply) err() error {
	switch {
	case r.Error == "":
		return nil
	case r.Errno != 0:
		return &remoteError{r.Error, r.Errno}
	}
	return errors.New(r.Error)
}

// remoteError is an error of the holder's, with its cause.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e *remoteError) Error() string { return e.text }

// Unwrap gives the kernel's error number.
func (e *remoteError) Unwrap() error { return e.errno }

// failure makes a reply of an error.
func failure(err error) reply {
	r := reply{Error: err.Error()}
	_ = errors.As(err, &r.Errno)
	return r
}

// maxPacket bounds a packet: arguments and environment of a process, of which
// the kernel takes a few hundred kilobytes through a socket.
const maxPacket = 192 << 10

// send writes one packet, with descriptors.
func send(c *net.UnixConn, v any, files ...*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxPacket {
		return fmt.Errorf("arguments and environment have %d bytes, more than %d", len(b), maxPacket)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, oob, nil)
	return err
}

// receive reads one packet into v, and the descriptors with it, which are the
// caller's to close. It is io.EOF when the other side is gone.
func receive(c *net.UnixConn, v any) ([]*os.File, error) {
	const most = 3
	b, oob := make([]byte, maxPacket+1), make([]byte, unix.CmsgSpace(most*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	files, err := descriptors(oob[:oobn])
	switch {
	case err != nil:
	case n == 0:
		err = io.EOF
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a packet that is too long")
	default:
		err = json.Unmarshal(b[:n], v)
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func descriptors(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
