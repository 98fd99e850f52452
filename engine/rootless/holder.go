package rootless

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// HolderName is the name this program has as a holder. The binary's main hands
// the arguments after argv[0] to HolderMain when argv[0] has this name.
const HolderName = "weft-holder"

// The holder's arguments: a stage, the directory, argEgress where its
// network is to have a way out.
const (
	stageWait  = "wait"
	stageServe = "serve"
	argEgress  = "egress"
)

// The holder's descriptor of the connection to who starts it, and what is said
// there: mapped to the holder, a reply by it.
const (
	starterFD = 3
	mapped    = 'm'
)

// HolderMain is the holder's life. It returns an exit code when it ends.
func HolderMain(args []string) int {
	if len(args) < 2 || os.Getpid() != 1 {
		return complain(errors.New("this holds a user namespace and is not for people: use `weft engine` or `weft lab`"))
	}
	starter := os.NewFile(starterFD, "starter")
	if args[0] == stageWait {
		return complain(awaitUsers(args[1:]))
	}
	unix.CloseOnExec(starterFD)
	h := &holder{dir: args[1], children: map[int]chan unix.WaitStatus{}}
	err := h.open(len(args) > 2)
	var r reply
	if err != nil {
		r = failure(err)
	}
	_ = json.NewEncoder(starter).Encode(r) // fails only when nobody listens any more
	_ = starter.Close()
	if err != nil {
		return complain(err)
	}
	h.serve()
	return 0
}

// awaitUsers waits until the users of the namespace are mapped and executes
// this program anew: only that makes the process root inside. It returns only
// errors.
func awaitUsers(args []string) error {
	b := make([]byte, 1)
	for {
		n, err := unix.Read(starterFD, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return errors.New("whoever started this is gone")
		}
		break
	}
	return unix.Exec("/proc/self/exe", append([]string{HolderName, stageServe}, args...), os.Environ())
}

// complain logs to standard error.
func complain(err error) int {
	const stderr = 2
	_, _ = unix.Write(stderr, fmt.Appendf(nil, "%s: %v\n", HolderName, err))
	return 1
}

// holder serves the socket. Its children are collected by reap alone.
type holder struct {
	dir      string
	listener *net.UnixListener
	network  *kernel.Namespace // of what runs inside
	mounts   map[int]bool      // of namespaces, that were there before it

	mu       sync.Mutex // guards children; held while one is started
	children map[int]chan unix.WaitStatus
}

// open makes the namespaces what they are to be, and the socket. Its errors are
// the kernel's: whoever started this explains them.
func (h *holder) open(egress bool) error {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGPIPE)
	// What is unmounted outside goes here too, and nothing goes back.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("let the machine's mounts go: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	var err error
	if h.mounts, err = namespaceMounts(); err != nil {
		return err
	}
	if h.network, err = newNetwork(); err != nil {
		return err
	}
	if egress {
		if err := h.leadOut(); err != nil {
			return err
		}
	}
	h.listener, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(h.dir, socketName), Net: "unixpacket"})
	if err != nil {
		return fault.Internal("listen: %w", err)
	}
	return nil
}

// serve answers until it is asked to end.
func (h *holder) serve() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() { // ends with the process
		for range ended {
			h.reap()
		}
	}()
	end := make(chan struct{})
	var once sync.Once
	go func() { // as above
		for {
			c, err := h.listener.AcceptUnix()
			if err != nil {
				complain(err)
				once.Do(func() { close(end) })
				return
			}
			go func() { // ends with the connection
				if h.answer(c) {
					once.Do(func() { close(end) })
				}
			}()
		}
	}()
	<-end
}

// reap collects every child that has ended and tells who waits.
func (h *holder) reap() {
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		h.mu.Lock()
		if c := h.children[pid]; c != nil {
			c <- st
			delete(h.children, pid)
		}
		h.mu.Unlock()
	}
}

// answer serves one connection; true says that the holder is to end.
func (h *holder) answer(c *net.UnixConn) (end bool) {
	defer c.Close() //nolint:errcheck // there is no more to say
	if !ofOwner(c) {
		return false
	}
	var r request
	files, err := receive(c, &r)
	if err != nil {
		return false
	}
	defer closeAll(files)
	switch r.Op {
	case opRun:
		err = h.run(c, r, files)
	case opListen:
		var socket *os.File
		if socket, err = portOf(context.Background(), r.Proto, r.Addr); err == nil {
			defer socket.Close() //nolint:errcheck // the client has its own
			_ = send(c, reply{}, socket)
		}
	case opEnd:
		if r.Force || h.idle() {
			return true
		}
		_ = send(c, reply{Busy: true})
	default:
		err = fmt.Errorf("unknown request %q", r.Op)
	}
	if err != nil {
		_ = send(c, failure(err))
	}
	return false
}

// ofOwner reports whether the other side is the user this belongs to, who is
// root inside.
func ofOwner(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	owner := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		owner = err == nil && cred.Uid == 0
	})
	return err == nil && owner
}

// run starts a process and stays with it until its end.
func (h *holder) run(c *net.UnixConn, r request, files []*os.File) error {
	if len(files) != 3 || len(r.Args) == 0 {
		return errors.New("no streams or no program given")
	}
	pid, ended, err := h.spawn(r, files)
	if err != nil {
		return err
	}
	closeAll(files)
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		for {
			var more request
			passed, err := receive(c, &more)
			closeAll(passed)
			if err != nil {
				return
			}
			if more.Op == opSignal {
				h.signal(pid, more.Signal)
			}
		}
	}()
	select {
	case st := <-ended:
		status := uint32(st)
		_ = send(c, reply{Status: &status})
	case <-gone:
		h.signal(pid, r.Orphan)
		<-ended
	}
	return nil
}

// spawn starts a process; its end comes over the channel.
func (h *holder) spawn(r request, files []*os.File) (int, <-chan unix.WaitStatus, error) {
	attr := &os.ProcAttr{
		Dir: r.Dir, Env: r.Env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: r.Terminal},
	}
	var proc *os.Process
	start := func() (err error) {
		proc, err = os.StartProcess(r.Args[0], r.Args, attr)
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if r.outside {
		err = start()
	} else {
		err = kernel.Do(h.network, start)
	}
	if err != nil {
		return 0, nil, err
	}
	pid, ended := proc.Pid, make(chan unix.WaitStatus, 1)
	h.children[pid] = ended
	return pid, ended, proc.Release() //nolint:wrapcheck // never fails for a process that was started
}

// signal signals a child that has not been collected.
func (h *holder) signal(pid int, sig syscall.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.children[pid] != nil && sig != 0 {
		_ = unix.Kill(pid, sig)
	}
}

// idle reports whether nothing is inside: no process, no mounted namespace.
func (h *holder) idle() bool {
	mounts, err := namespaceMounts()
	if err != nil {
		return false
	}
	for id := range mounts {
		if !h.mounts[id] {
			return false
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			return false
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")) // none: it has ended
		return err == nil && filepath.Base(exe) != egressProgram
	})
}

// namespaceMounts gives the IDs of the mounts of namespaces.
func namespaceMounts() (map[int]bool, error) {
	list, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("nsfs"))
	if err != nil {
		return nil, fault.Internal("list mounts: %w", err)
	}
	ids := make(map[int]bool, len(list))
	for _, m := range list {
		ids[m.ID] = true
	}
	return ids, nil
}

// Dispatch runs HolderMain if argv, with the program's name first, is that of
// a holder, and gives the code to exit with.
func Dispatch(argv []string) (code int, ours bool) {
	if len(argv) == 0 || argv[0] != HolderName {
		return 0, false
	}
	return HolderMain(argv[1:]), true
}
