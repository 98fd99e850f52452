package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Host is one host of a lab.
type Host struct {
	Name  string       `json:"name"`
	Addr  netip.Prefix `json:"addr"`
	Addr6 netip.Prefix `json:"addr6"`
	Boot  Boot         `json:"boot"`

	dir string
}

// DataDir is the host's disk as its command uses it; it survives Kill.
func (h Host) DataDir() string { return filepath.Join(h.dir, "data") }

// RunPath is the directory a host sees as RunDir. It is emptied at every boot.
func (h Host) RunPath() string { return filepath.Join(h.dir, "run") }

// LogPath is the file the host's command logs to.
func (h Host) LogPath() string { return filepath.Join(h.dir, "engine.log") }

// Cgroup is where the host's command is to keep cgroups, which are the whole
// machine's: what is below goes with the lab.
func (h Host) Cgroup() string {
	return path.Join(labCgroup(filepath.Dir(h.dir)), h.Name)
}

// Socket is the path, outside the host, of the API its command serves; empty
// if there is none.
func (h Host) Socket() string {
	if h.Boot.Socket == "" {
		return ""
	}
	return filepath.Join(h.RunPath(), h.Boot.Socket)
}

func (h Host) consolePath() string { return filepath.Join(h.dir, "console.log") }

// state is lab.json.
type state struct {
	MTU     int          `json:"mtu"`
	Subnet  netip.Prefix `json:"subnet"`
	Subnet6 netip.Prefix `json:"subnet6"`
	Hosts   []Host       `json:"hosts"`
}

// Lab is a lab that exists, or what is left of one. Its methods may be called
// from several goroutines and processes at once.
type Lab struct {
	Name string

	dir   string
	self  string
	ready time.Duration
}

// Open gives the lab of this name; self is a binary whose main knows HostName.
// A lab that was made or removed half way opens too, for Down. It fails with
// NotFound if there is nothing.
func Open(stateDir, name, self string) (*Lab, error) {
	dir, err := checkPlace(stateDir, name)
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: name, dir: dir, self: self, ready: time.Minute}
	if _, err := os.Stat(dir); err == nil {
		return l, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for lab %s: %w", name, err)
	}
	inits, err := findInits(dir)
	if err != nil {
		return nil, err
	}
	if len(inits) > 0 {
		return l, nil
	}
	others, err := List(stateDir)
	if err != nil {
		return nil, err
	}
	if len(others) == 0 {
		return nil, fault.NotFound("no such lab: %s; make one with `weft lab up`", name)
	}
	return nil, fault.NotFound("no such lab: %s; there is %s: choose with --name", name, strings.Join(others, ", "))
}

// List gives the names of the labs in a state directory, sorted.
func List(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && labName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Hosts gives the lab's hosts in the order they were added.
func (l *Lab) Hosts() ([]Host, error) {
	st, err := l.load()
	return st.Hosts, err
}

// Host gives one host, or NotFound.
func (l *Lab) Host(name string) (Host, error) {
	st, err := l.load()
	if err != nil {
		return Host{}, err
	}
	return st.host(l.Name, name)
}

func (st state) host(lab, name string) (Host, error) {
	i := slices.IndexFunc(st.Hosts, func(h Host) bool { return h.Name == name })
	if i >= 0 {
		return st.Hosts[i], nil
	}
	names := make([]string, len(st.Hosts))
	for i, h := range st.Hosts {
		names[i] = h.Name
	}
	return Host{}, fault.NotFound("no such host: %q; lab %s has %s", name, lab, strings.Join(names, ", "))
}

func (l *Lab) load() (state, error) {
	var st state
	b, err := os.ReadFile(l.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return st, fault.Conflict("lab %s was made or removed only half way: finish that with `weft lab down --name %[1]s`", l.Name)
	}
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		return st, fmt.Errorf("read lab %s: %w", l.Name, err)
	}
	for i := range st.Hosts {
		st.Hosts[i].dir = filepath.Join(l.dir, st.Hosts[i].Name)
	}
	return st, nil
}

// save writes lab.json and what hosts see as /etc/hosts.
func (l *Lab) save(st state) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("encode lab: %w", err)
	}
	fresh := l.statePath() + ".new"
	if err := os.WriteFile(fresh, append(b, '\n'), 0o644); err != nil { //nolint:gosec // holds no secret; `lab ls` needs no root
		return fmt.Errorf("write lab: %w", err)
	}
	if err := os.Rename(fresh, l.statePath()); err != nil {
		return fmt.Errorf("write lab: %w", err)
	}
	var names bytes.Buffer
	names.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, h := range st.Hosts {
		fmt.Fprintf(&names, "%s %s\n%s %[2]s\n", h.Addr.Addr(), h.Name, h.Addr6.Addr())
	}
	// In place: running hosts have this very file mounted.
	if err := os.WriteFile(l.hostsPath(), names.Bytes(), 0o644); err != nil { //nolint:gosec // everybody reads /etc/hosts
		return fmt.Errorf("write the hosts' names: %w", err)
	}
	return nil
}

func (l *Lab) statePath() string { return filepath.Join(l.dir, "lab.json") }
func (l *Lab) hostsPath() string { return filepath.Join(l.dir, "hosts") }

// Underlay is the path of the underlay's network namespace, whose links have
// the names of the hosts they lead to.
func (l *Lab) Underlay() string { return filepath.Join(l.dir, "underlay") }

// lock makes the caller the only one to change the lab, waiting for its turn
// as long as ctx lasts.
func (l *Lab) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := os.Open(l.dir)
	if err != nil {
		return nil, fmt.Errorf("lock lab %s: %w", l.Name, err)
	}
	release := func() { _ = dir.Close() } // closing frees the lock
	if err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			return false, nil
		}
		return true, err
	}); err != nil {
		release()
		return nil, fmt.Errorf("wait for another command that changes lab %s: %w", l.Name, err)
	}
	locked, err := dir.Stat()
	if err == nil {
		var now fs.FileInfo
		if now, err = os.Stat(l.dir); err == nil && !os.SameFile(locked, now) {
			err = fs.ErrNotExist
		}
	}
	if err != nil { // removed while we waited
		release()
		return nil, fault.NotFound("no such lab: %s: %w", l.Name, err)
	}
	return release, nil
}

// poll asks until done, an error, or the end of ctx.
func poll(ctx context.Context, every time.Duration, ask func() (done bool, err error)) error {
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}
