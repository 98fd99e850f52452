package runtime

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"weft/engine/model"
)

// The operations of the shim's socket. A connection carries one: a request
// line, a reply line, then what the operation says.
const (
	opSignal = "signal" // send Signal to the process
	opWait   = "wait"   // the reply comes when the process has ended
	opAttach = "attach" // frames out, raw standard input in
	opWatch  = "watch"  // a byte each time the log has grown
	opResize = "resize" // the terminal is Rows by Cols
	opExec   = "exec"   // start Spec as Exec, then as attach
	opQuit   = "quit"   // kill the process and leave; the connection closes then
)

// request asks for an operation on the container's first process, or on the
// further one Exec names.
type request struct {
	Op                    string
	Exec                  string          `json:",omitempty"`
	Spec                  *model.ExecSpec `json:",omitempty"`
	Signal                int             `json:",omitempty"`
	Rows, Cols            uint16          `json:",omitempty"`
	Stdin, Stdout, Stderr bool            `json:",omitempty"`
	KeepStdin             bool            `json:",omitempty"`
}

type reply struct {
	Error string      `json:",omitempty"`
	Gone  bool        `json:",omitempty"` // the process has ended
	Exit  *exitRecord `json:",omitempty"`
}

// The lines of the pipe between an engine and the shim it starts.
const (
	lineReady = "ready"
	lineStart = "start"
)

// started answers lineStart.
type started struct {
	Pid   int        `json:",omitempty"`
	Error *ExecError `json:",omitempty"`
}

// The output streams, numbered as in Docker's multiplexed streams.
const (
	streamStdout = 1
	streamStderr = 2
)

// frameMax bounds a frame's payload: what is read at once from a pipe.
const frameMax = 32 << 10

// frameHead is the stream's number and the payload's length.
const frameHead = 1 + 4

// appendFrame appends a frame with payload p to b.
func appendFrame(b []byte, stream byte, p []byte) []byte {
	b = append(b, stream)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p))) //nolint:gosec // at most frameMax
	return append(b, p...)
}

// copyFrames hands every payload of r to the writer of its stream, until r
// ends. Streams without a writer are dropped.
func copyFrames(r io.Reader, stdout, stderr io.Writer) error {
	buf := make([]byte, frameMax)
	for {
		var head [frameHead]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ended(err)
		}
		n := binary.BigEndian.Uint32(head[1:])
		if n > frameMax {
			return fmt.Errorf("read output: frame of %d bytes", n)
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return ended(err)
		}
		w := stdout
		if head[0] == streamStderr {
			w = stderr
		}
		if w == nil {
			continue
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
}

// ended makes nil of the errors that mean that the other end has gone.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// writeLine writes v as a line of JSON.
func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// readLine reads what writeLine wrote.
func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

// shortPath calls fn with a path of dir's entry name that fits a socket
// address, 108 bytes, however long dir is.
func shortPath(dir, name string, fn func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return fn(filepath.Join("/proc/self/fd", strconv.FormatUint(uint64(d.Fd()), 10), name))
}

func dialSocket(dir string) (*net.UnixConn, error) {
	var conn *net.UnixConn
	err := shortPath(dir, fileSocket, func(path string) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	return conn, err
}

func listenSocket(dir string) (*net.UnixListener, error) {
	var l *net.UnixListener
	err := shortPath(dir, fileSocket, func(path string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	l.SetUnlinkOnClose(false) // the path was good for this call only
	return l, nil
}
