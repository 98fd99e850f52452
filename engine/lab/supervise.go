package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notifyVar names the socket of sd_notify(3), which is notifySocket in a host.
const (
	notifyVar    = "NOTIFY_SOCKET"
	notifySocket = "/run/lab-notify"
)

const (
	restartDelay = time.Second      // before a failed command is started again
	stopTimeout  = 20 * time.Second // between passing SIGTERM on and the end of the host
)

// supervisor is the life of a host's PID 1 after its set-up. Everything
// happens in run, on one goroutine.
type supervisor struct {
	host    Host
	log     *os.File
	notify  *net.UnixConn // nil unless the command reports readiness
	ready   chan struct{} // closed when it did
	signals chan os.Signal

	pid      int // of the command; 0: it does not run
	stopping bool
	restart  *time.Timer
	stop     *time.Timer
}

func newSupervisor(h Host) (*supervisor, error) {
	s := &supervisor{
		host: h, ready: make(chan struct{}), signals: make(chan os.Signal, 16),
		restart: time.NewTimer(restartDelay), stop: time.NewTimer(stopTimeout),
	}
	s.restart.Stop()
	s.stop.Stop()
	var err error
	s.log, err = os.OpenFile(h.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of its command: %w", err)
	}
	signal.Notify(s.signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	if !h.Boot.Notify {
		return s, nil
	}
	s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifySocket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("make the socket its command reports to: %w", err)
	}
	go s.awaitReady() // ends with the process
	return s, nil
}

// run starts the command, says with reply how that went, and goes on until
// the host is shut down.
func (s *supervisor) run(reply func(error)) int {
	if err := s.start(); err != nil {
		reply(err)
		return complain(err)
	}
	ready := s.ready
	if s.notify == nil {
		reply(nil)
		ready = nil
	}
	for {
		select {
		case <-ready:
			reply(nil)
			ready = nil
		case sig := <-s.signals:
			if sig != unix.SIGCHLD {
				s.pass(sig)
				break
			}
			status, ended := s.reap()
			if !ended {
				break
			}
			if ready != nil {
				err := fmt.Errorf("its command ended: %s", describe(status))
				reply(err)
				return complain(err)
			}
			s.ended(status)
		case <-s.restart.C:
			if err := s.start(); err != nil {
				complain(err)
				s.restart.Reset(restartDelay)
			}
		case <-s.stop.C:
			return complain(fmt.Errorf("the command goes on %s after SIGTERM", stopTimeout))
		}
		if s.stopping && s.pid == 0 {
			return 0
		}
	}
}

// start runs the command, if the host has one.
func (s *supervisor) start() error {
	args := s.host.Boot.Command
	if len(args) == 0 {
		return nil
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("find its command: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("start its command: %w", err)
	}
	defer null.Close() //nolint:errcheck // the command has its own
	env := append(os.Environ(), s.host.Boot.Env...)
	if s.notify != nil {
		env = append(env, notifyVar+"="+notifySocket)
	}
	p, err := os.StartProcess(path, args, &os.ProcAttr{
		Dir: "/", Env: env, Files: []*os.File{null, s.log, s.log}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start its command: %w", err)
	}
	s.pid = p.Pid
	return p.Release() //nolint:wrapcheck // reap collects it with everything else
}

// reap collects ended processes; ended says that the command is one of them.
func (s *supervisor) reap() (status unix.WaitStatus, ended bool) {
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return status, ended
		}
		if pid == s.pid {
			s.pid, status, ended = 0, st, true
		}
	}
}

// ended decides what follows the end of the command: status 0 was wanted.
func (s *supervisor) ended(status unix.WaitStatus) {
	if s.stopping || status.ExitStatus() == 0 {
		return
	}
	complain(fmt.Errorf("the command ended: %s; it is started again", describe(status)))
	s.restart.Reset(restartDelay)
}

// pass gives a signal to the command. SIGTERM and SIGINT shut the host down.
func (s *supervisor) pass(sig os.Signal) {
	if sig == unix.SIGTERM || sig == unix.SIGINT {
		s.stopping = true
		s.restart.Stop()
		s.stop.Reset(stopTimeout)
	}
	number, ok := sig.(syscall.Signal)
	if s.pid == 0 || !ok {
		return
	}
	if err := unix.Kill(s.pid, number); err != nil {
		complain(fmt.Errorf("pass %s to the command: %w", sig, err))
	}
}

// awaitReady reads reports until the first READY=1 and goes on reading, so
// that no later reporter blocks.
func (s *supervisor) awaitReady() {
	buf := make([]byte, 4096)
	for said := false; ; {
		n, err := s.notify.Read(buf)
		if err != nil {
			return
		}
		for line := range bytes.Lines(buf[:n]) {
			if strings.TrimSpace(string(line)) == "READY=1" && !said {
				said = true
				close(s.ready)
			}
		}
	}
}

func describe(st unix.WaitStatus) string {
	if st.Signaled() {
		return "killed by " + unix.SignalName(st.Signal())
	}
	return fmt.Sprintf("exit status %d", st.ExitStatus())
}
