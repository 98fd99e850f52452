package kernel

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder is a process that has a port.
type Holder struct {
	PID  int
	Name string // of its program, as the kernel has it: at most 15 bytes
}

// PortHolder finds who listens at a port of ns, at any of its addresses: a
// process that this one can see. proto is tcp or udp. false is nobody found.
func PortHolder(ns *Namespace, proto string, port uint16) (Holder, bool) {
	sockets := map[string]bool{}
	_ = Do(ns, func() error { // what can't be read has nothing to tell
		for _, table := range []string{proto, proto + "6"} {
			if f, err := os.Open("/proc/thread-self/net/" + table); err == nil { //nolint:gosec // a table of the kernel's
				lines := bufio.NewScanner(f)
				for lines.Scan() {
					if inode, ok := listener(lines.Text(), proto, port); ok {
						sockets[fmt.Sprintf("socket:[%s]", inode)] = true
					}
				}
				_ = f.Close()
			}
		}
		return nil
	})
	if len(sockets) == 0 {
		return Holder{}, false
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if !has(dir, sockets) {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(dir, "comm")) //nolint:gosec // the kernel's
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil {
			return Holder{PID: pid, Name: strings.TrimSpace(string(name))}, true
		}
	}
	return Holder{}, false
}

// The states of sockets that hold a port (include/net/tcp_states.h): TCP_LISTEN,
// and for datagrams TCP_CLOSE, which is one without a peer.
const (
	stateListen = "0A"
	stateClose  = "07"
)

// listener reads a line of a table of sockets (proc_net_tcp(5)).
func listener(line, proto string, port uint16) (inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return "", false
	}
	want := stateListen
	if proto == "udp" {
		want = stateClose
	}
	_, hex, _ := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	return f[9], err == nil && uint16(n) == port && f[3] == want
}

// has reports whether a process has one of the sockets open.
func has(dir string, sockets map[string]bool) bool {
	found := false
	_ = filepath.WalkDir(filepath.Join(dir, "fd"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // a process that ends, or is none of ours
		}
		if to, err := os.Readlink(path); err == nil && sockets[to] {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}
