// Package lab makes hosts out of namespaces, on one machine: for a demo, to
// rehearse an outage, to test.
//
// A host is a set of network, mount, PID, UTS and IPC namespaces held by its
// PID 1, which is this program under the name HostName. PID 1 sets the host up
// (its own /proc, /sys, /run and host name), supervises one command, usually an
// engine, collects orphans and passes signals on. Killing it is a power cut:
// the kernel ends every process in the host, and its links and mounts with
// them. What a host wrote below its directory is its disk and stays.
//
// Hosts are joined by a bridge in a namespace of the lab's own, the underlay,
// which only a bind mount in the lab's directory holds. A partition is a set
// of port pairs between which an nftables rule on that bridge drops frames.
//
//	STATE-DIR/NAME/lab.json     what the lab is: hosts, addresses, commands
//	               hosts        /etc/hosts of every host
//	               underlay     the underlay's network namespace
//	               host1/data   data directory of host1's engine
//	               host1/run    /run/weft of host1: its sockets, from outside
//	               host1/*.log  of PID 1 (console) and of its command (engine)
//
// What runs is asked of the kernel and never recorded: PID 1 of a host is the
// process that carries HostName and the host's directory on its command line,
// partitions are what the rule's set contains. So a lab outlives the command
// that made it and any number of kills, and Down removes also what only half
// exists. One command at a time changes a lab: a lock on its directory, freed
// by the kernel, sees to that.
//
// The package needs root, if only that of a user namespace, which a lab does
// not outlive. A host shares the machine's file system, except for
// /proc, /sys and /run, and its cgroups: a lab separates networks, it is not a
// security boundary. It does not know what an engine is.
package lab

import (
	"path/filepath"
)

// HostName is the name this program has as PID 1 of a host. The binary's main
// hands the arguments after argv[0] to HostMain when argv[0] has this name.
const HostName = "weft-lab-host"

// Defaults of a lab.
const (
	DefaultName   = "lab"
	DefaultHosts  = 3
	DefaultMTU    = 1500
	DefaultSubnet = "192.168.99.0/24"
	DefaultState  = "/var/lib/weft/lab"
)

// RunDir is where a host sees its run directory.
const RunDir = "/run/weft"

// Boot is what a host runs.
type Boot struct {
	// Command is supervised by the host's PID 1, which starts it again when it
	// fails and leaves it alone when it ends with status 0. None: the host only
	// exists.
	Command []string `json:"command,omitempty"`

	// Env is added to the environment of Command and of everything Exec runs.
	Env []string `json:"env,omitempty"`

	// Notify says that Command reports READY=1 by sd_notify(3). A host is up
	// when that came; without Notify it is up when Command was started.
	Notify bool `json:"notify,omitempty"`

	// Socket is the file name, below the run directory, of the Docker API that
	// Command serves. Empty: none.
	Socket string `json:"socket,omitempty"`
}

// EngineBoot gives the Boot of a host that runs the built-in engine of the
// binary self.
func EngineBoot(self string) func(Host) Boot {
	const socket = "engine.sock"
	return func(h Host) Boot {
		return Boot{
			Command: []string{self, "engine", "run", "--data-dir", h.DataDir(), "--run-dir", RunDir, "--cgroup-parent", h.Cgroup()},
			Env:     []string{"DOCKER_HOST=unix://" + filepath.Join(RunDir, socket)},
			Notify:  true,
			Socket:  socket,
		}
	}
}
