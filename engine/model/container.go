package model

import (
	"net/netip"
	"time"
)

// ProcessSpec is what runs in a container.
type ProcessSpec struct {
	Image      string
	Entrypoint []string // nil: the image's
	Args       []string // nil: the image's
	Env        []string // KEY=VALUE
	Dir        string
	User       string
	Hostname   string
	StopSignal string        // empty: SIGTERM
	StopGrace  time.Duration // 0: 10 s, Docker's default
	TTY        bool
	OpenStdin  bool
}

// NetworkRequest asks for one attachment when a container starts.
type NetworkRequest struct {
	Network string // name or ID as given
	Addr    netip.Addr
	AddrV6  netip.Addr
	Aliases []string
}

// ContainerSpec is a container as asked for. Only its name and the networks of
// a standalone container change afterwards.
type ContainerSpec struct {
	Name       string
	Process    ProcessSpec
	Labels     map[string]string
	Networks   []NetworkRequest // first one is the default network
	AutoRemove bool
	Service    *ServiceTask // nil for standalone containers
}

// ServiceTask says which task of which service a container is.
type ServiceTask struct {
	TaskID      string
	ServiceID   string
	ServiceName string
	NodeID      string
	Slot        uint64 // 0 in global mode
}

// ContainerState is where in its life a container is; the strings are Docker's.
type ContainerState string

// The states of a container. A removed container is not listed any more.
const (
	StateCreated ContainerState = "created"
	StateRunning ContainerState = "running"
	StateExited  ContainerState = "exited"
	StateDead    ContainerState = "dead"
)

// Container is a container of this node and what became of it.
type Container struct {
	ID        string // 64 hex digits
	Spec      ContainerSpec
	State     ContainerState
	Pid       int // 0 unless running; as the engine's PID namespace sees it
	ExitCode  int
	Error     string // why it could not start
	Created   time.Time
	Started   time.Time
	Finished  time.Time
	Endpoints []Endpoint
	Sandbox   string // path of its network namespace; empty before the first start
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	Code     int // 128+n when signal n ended it
	Finished time.Time
	Err      string
}

// Task is a service task the swarm gave this node.
type Task struct {
	ID          string
	Spec        ContainerSpec
	Attachments []Attachment
}
