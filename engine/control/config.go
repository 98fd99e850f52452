package control

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Config is what a Node needs. StateDir, Host and Log are required.
type Config struct {
	StateDir string // owned by the Node: Leave empties it
	RunDir   string // holds the control socket; empty: StateDir. Keep it short: sun_path ends at 108 bytes
	Host     Host
	Log      *slog.Logger

	// DefaultAdvertiseAddr is an address or interface to advertise when Init
	// is not given one. Empty: the system's only address.
	DefaultAdvertiseAddr string
	// DefaultDataPathAddr is the same for the data path.
	DefaultDataPathAddr string
	// DataPathPort is used when Init is not given one. 0: 4789.
	DataPathPort uint32
	// DefaultAddrPool and SubnetSize are used when Init is not given a pool.
	DefaultAddrPool []string
	SubnetSize      uint32

	// OwnLink says that a link belongs to the engine and must not be
	// advertised. Nil: none does.
	OwnLink func(name string) bool
	// LocalNetwork says that this name or ID is a network of this node alone,
	// so that a service asking for it gets Docker's refusal. Nil: none is.
	LocalNetwork func(nameOrID string) bool

	// JoinTimeout bounds how long Join waits. 0: 20 s, dockerd's.
	JoinTimeout time.Duration
	// HeartbeatTick and ElectionTick are raft's. 0: 1 and 10, dockerd's.
	HeartbeatTick uint32
	ElectionTick  uint32
}

// The limits dockerd uses (daemon/cluster/cluster.go).
const (
	requestTimeout = 20 * time.Second
	joinTimeout    = 20 * time.Second
	stopTimeout    = 15 * time.Second
)

func (c *Config) complete() error {
	switch {
	case c.StateDir == "":
		return errors.New("control: no state directory")
	case c.Host == nil:
		return errors.New("control: no host")
	case c.Log == nil:
		return errors.New("control: no logger")
	}
	if c.RunDir == "" {
		c.RunDir = c.StateDir
	}
	if c.JoinTimeout == 0 {
		c.JoinTimeout = joinTimeout
	}
	if c.HeartbeatTick == 0 {
		c.HeartbeatTick = 1
	}
	if c.ElectionTick == 0 {
		// etcd's raft wants ten heartbeats to an election.
		c.ElectionTick = 10 * c.HeartbeatTick
	}
	if c.OwnLink == nil {
		c.OwnLink = func(string) bool { return false }
	}
	if c.LocalNetwork == nil {
		c.LocalNetwork = func(string) bool { return false }
	}
	for _, dir := range []string{c.StateDir, c.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) controlSocket() string { return filepath.Join(c.RunDir, "control.sock") }
