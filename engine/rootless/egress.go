package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// egressProgram is the way out of the network inside: it speaks TCP, UDP and
// ICMP in the user's name outside for who is inside (slirp4netns(1)).
const egressProgram = "slirp4netns"

// tunDevice is what it makes its link with.
const tunDevice = "/dev/net/tun"

// egressDNS is where it answers questions for names (slirp4netns(1)).
const egressDNS = "10.0.2.3"

const egressRestart = time.Second // before one that ended is started again

// NoWayOut says why nothing outside can be reached from the network inside,
// with the fix; empty when there is a way.
func NoWayOut() string {
	if _, err := exec.LookPath(egressProgram); err != nil {
		return "containers can't reach other machines: install the package " + egressProgram + " for that"
	}
	if unix.Access(tunDevice, unix.R_OK|unix.W_OK) != nil {
		return "containers can't reach other machines: " + egressProgram + " needs " + tunDevice + ", which this user can't open (chmod 666 " + tunDevice + ")"
	}
	return ""
}

// leadOut starts the way out, where there is one, and lets names be looked up
// through it.
func (h *holder) leadOut() error {
	if NoWayOut() != "" {
		return nil
	}
	path, err := exec.LookPath(egressProgram)
	if err != nil {
		return fault.Internal("find the way out: %w", err)
	}
	if err := h.resolveThrough(egressDNS); err != nil {
		return err
	}
	go func() { // ends with the process
		for {
			complain(fmt.Errorf("%s ended and is started again: %w", egressProgram, h.runEgress(path)))
			<-time.NewTimer(egressRestart).C
		}
	}()
	return nil
}

// runEgress runs the program to its end. What is on the machine's own loopback
// stays out of reach.
func (h *holder) runEgress(path string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close() //nolint:errcheck // the program has its own
	stderr := os.NewFile(uintptr(unix.Stderr), "stderr")
	_, ended, err := h.spawn(request{Args: []string{
		path, "--configure", "--mtu=1500", "--disable-host-loopback", "--netns-type=path",
		fmt.Sprintf("/proc/1/fd/%d", h.network.Fd()), "tap0",
	}, Env: os.Environ(), Dir: "/", outside: true}, []*os.File{null, null, stderr})
	if err != nil {
		return err
	}
	st := <-ended
	return errors.New(describe(st))
}

func describe(st unix.WaitStatus) string {
	if st.Signaled() {
		return "killed by " + unix.SignalName(st.Signal())
	}
	return fmt.Sprintf("exit status %d", st.ExitStatus())
}

// resolveThrough gives what is inside an /etc/resolv.conf of its own: the
// machine's, with another server. A machine without one needs none.
func (h *holder) resolveThrough(server string) error {
	const path = "/etc/resolv.conf"
	text, err := os.ReadFile(path)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	lines := []string{"nameserver " + server}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "nameserver") {
			lines = append(lines, line)
		}
	}
	own := filepath.Join(h.dir, resolvName)
	if err := os.WriteFile(own, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // every user inside reads it
		return fault.Internal("write %s: %w", own, err)
	}
	if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
		return fault.Internal("mount %s: %w", path, err)
	}
	return nil
}
