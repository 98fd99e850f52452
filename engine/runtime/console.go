package runtime

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// consoleByte comes to the shim with the terminal's descriptor. Anything else
// is the beginning of an error.
const consoleByte = 'c'

// openConsole makes a terminal in the container, gives its other end to the
// shim, and makes it this process's controlling terminal and standard streams.
// The first process's is the container's console as well.
func openConsole(first bool) error {
	fail := func(err error) error { return fmt.Errorf("make terminal: %w", err) }
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return fail(err)
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return fail(err)
	}
	name := fmt.Sprintf("/dev/pts/%d", number)
	slave, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	if first {
		d := detached{target: "/dev/console"}
		if d.fd, err = unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
			return fail(err)
		}
		if err := d.attach(); err != nil {
			return fail(err)
		}
	}
	if err := unix.Sendmsg(ctlFD, []byte{consoleByte}, unix.UnixRights(master), nil, 0); err != nil {
		return fail(err)
	}
	if err := unix.Close(master); err != nil {
		return fail(err)
	}
	if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
		return fail(err)
	}
	for fd := range ctlFD {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return fail(err)
		}
	}
	return nil
}

// receiveConsole takes the terminal from a process that is being started. When
// it sent something else, first is the beginning of that and the file nil.
func receiveConsole(conn *net.UnixConn) (console *os.File, first []byte, err error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil || n == 0 || buf[0] != consoleByte {
		return nil, buf[:n], err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, nil, fmt.Errorf("receive terminal: %w", errors.Join(err, errNoConsole))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, fmt.Errorf("receive terminal: %w", errors.Join(err, errNoConsole))
	}
	unix.CloseOnExec(fds[0])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		return nil, nil, fmt.Errorf("receive terminal: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil, nil
}

var errNoConsole = errors.New("no descriptor came")
