package model

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// ProcessSpec is what runs in a container, and within which bounds.
type ProcessSpec struct {
	Image           string
	Runtime         string   // what runs it, by its name on Docker's API; empty: the engine's default
	Entrypoint      []string // nil: the image's
	Args            []string // nil: the image's
	Env             []string // KEY=VALUE
	Dir             string
	User            string   // name or ID, ":group" where given; empty: the image's
	Groups          []string // additional, names or IDs
	Hostname        string
	Domainname      string
	StopSignal      string        // empty: the image's, or SIGTERM
	StopGrace       time.Duration // 0: 10 s, Docker's default
	TTY             bool
	OpenStdin       bool
	StdinOnce       bool // standard input ends with the first client that has it
	CapAdd, CapDrop []string
	NoNewPrivileges bool
	AllSyscalls     bool // no system call filter
	ReadOnlyRoot    bool
	Mounts          []Mount
	ShmSize         int64 // bytes of /dev/shm; 0: 64 MiB
	Sysctls         map[string]string
	Ulimits         []Ulimit
	OOMScoreAdj     int
	Resources       Resources
}

// ExecSpec is a further process of a container.
type ExecSpec struct {
	Args       []string
	Env        []string // changes to the container's
	Dir        string   // empty: the container's
	User       string   // empty: the container's
	TTY        bool
	Stdin      bool
	AllCaps    bool   // every capability there is (docker exec --privileged)
	Rows, Cols uint16 // of the terminal at its start; 0: not known
	Detached   bool   // nobody takes its output
}

// Exec is a further process of a container and what became of it.
type Exec struct {
	ID                    string
	ContainerID           string
	Spec                  ExecSpec
	Stdin, Stdout, Stderr bool // which streams its client wants
	DetachKeys            string
	Running               bool
	Exit                  *ExitStatus // nil until it has ended
}

// MountKind is where a mount's content comes from; the strings are Docker's.
type MountKind string

// The kinds of mounts.
const (
	MountBind   MountKind = "bind"
	MountVolume MountKind = "volume"
	MountTmpfs  MountKind = "tmpfs"
)

// Mount is a file system in a container.
type Mount struct {
	Kind     MountKind
	Name     string // of a volume
	Source   string // path on the host; empty for tmpfs
	Target   string // absolute path in the container
	ReadOnly bool
	// Propagation is one of mount(8)'s words; empty: rprivate. Binds only.
	Propagation  string
	NonRecursive bool
	Options      []string // of a tmpfs, as mount(8) has them

	Form       MountForm `json:",omitempty"`
	Mode       string    `json:",omitempty"` // the options as MountAsBind has them
	MakeSource bool      `json:",omitempty"` // of a bind: make the directory of the host if it is not there

	// The following are a volume's. An anonymous one got its name from the
	// engine and goes with its containers; labels and options are for one that
	// is not there yet.
	Anonymous     bool              `json:",omitempty"`
	NoCopy        bool              `json:",omitempty"` // it does not get what the image has in its place
	VolumeLabels  map[string]string `json:",omitempty"`
	VolumeOptions map[string]string `json:",omitempty"`
}

// MountForm is how a mount was asked for.
type MountForm string

// The forms of Docker's API. The zero value is a volume that a path alone, the
// image's or a client's, asked for.
const (
	MountAsBind  MountForm = "bind"  // -v: HostConfig.Binds
	MountAsMount MountForm = "mount" // --mount: HostConfig.Mounts
	MountAsTmpfs MountForm = "tmpfs" // --tmpfs: HostConfig.Tmpfs
	MountFrom    MountForm = "from"  // --volumes-from: another container's
)

// Ulimit is a resource limit of a process (getrlimit(2)); -1 is no limit.
type Ulimit struct {
	Name       string // without RLIMIT_, in lower case
	Soft, Hard int64
}

// Resources bound what a container uses of the machine, by its cgroup. Zero
// values are no bound.
type Resources struct {
	NanoCPUs          int64 // 1e9 is one CPU
	CPUShares         int64 // relative weight
	CPUPeriod         int64 // µs
	CPUQuota          int64 // µs per period
	CpusetCPUs        string
	CpusetMems        string
	Memory            int64 // bytes
	MemoryReservation int64 // bytes
	MemorySwap        int64 // bytes of memory and swap; -1: no bound
	PidsLimit         int64
	OOMKillDisable    bool
}

// IsZero reports whether nothing is bounded.
func (r Resources) IsZero() bool { return r == Resources{} }

// NetworkRequest asks for one attachment when a container starts.
type NetworkRequest struct {
	Network string // name or ID as given
	Addr    netip.Addr
	AddrV6  netip.Addr
	Aliases []string
	// GwPriority decides which network is the container's way out.
	GwPriority int `json:",omitempty"`
}

// The ways of a container to the network besides the name of one; the strings
// are Docker's. ModeContainer is followed by the other container's name or ID.
const (
	ModeHost      = "host"
	ModeNone      = "none"
	ModeContainer = "container:"
)

// Port is a port of a container.
type Port struct {
	Proto string // tcp, udp or sctp
	Port  uint16
}

// PortBinding asks for a port of the container to be reachable on the host.
type PortBinding struct {
	Port
	HostIP netip.Addr // zero: the network's default
	// Bind are addresses and interfaces of hosts, of which it is open at those
	// its host has; none: HostIP.
	Bind []string `json:",omitempty"`
	// The first free one of HostPort to HostPortEnd; 0 and 0: any.
	HostPort, HostPortEnd uint16
}

// PublishedPort is a port of the container that is reachable on the host.
type PublishedPort struct {
	Port
	HostIP   netip.Addr // may be unspecified
	HostPort uint16
}

// Naming is what a container's resolver is told beside the host's own ways.
type Naming struct {
	Servers    []netip.Addr `json:",omitempty"` // none: the host's
	Search     []string     `json:",omitempty"` // none: the host's; ".": no domain
	Options    []string     `json:",omitempty"`
	ExtraHosts []string     `json:",omitempty"` // NAME:ADDRESS
}

// The restart policies; the strings are Docker's. Empty is RestartNo.
const (
	RestartNo            = "no"
	RestartAlways        = "always"
	RestartOnFailure     = "on-failure"
	RestartUnlessStopped = "unless-stopped"
)

// RestartPolicy says when a container that has ended is started again.
type RestartPolicy struct {
	Name       string `json:",omitempty"`
	MaxRetries int    `json:",omitempty"` // of on-failure; 0: no limit
}

// HealthCheck is a command that says whether a container does its work.
type HealthCheck struct {
	Args          []string // a shell's where Shell is set
	Shell         bool
	Interval      time.Duration // 0: 30 s
	Timeout       time.Duration // 0: 30 s
	StartPeriod   time.Duration // in which failures don't count
	StartInterval time.Duration // in the start period; 0: 5 s
	Retries       int           // failures in a row that make it unhealthy; 0: 3
}

// HealthStatus is what checks have found; the strings are Docker's.
type HealthStatus string

// The states of health. Containers without a check have none.
const (
	HealthStarting HealthStatus = "starting"
	Healthy        HealthStatus = "healthy"
	Unhealthy      HealthStatus = "unhealthy"
)

// Health is what a container's checks have found since it was started.
type Health struct {
	Status        HealthStatus
	FailingStreak int
	Log           []HealthResult // the last few, oldest first
}

// HealthResult is one check.
type HealthResult struct {
	Start, End time.Time
	ExitCode   int
	Output     string // the beginning of it
}

// ContainerSpec is a container as asked for. Only its name and the networks of
// a standalone container change afterwards.
type ContainerSpec struct {
	Name    string
	Process ProcessSpec
	Labels  map[string]string
	// Volumes are the paths that get a volume of their own where no mount has
	// one; VolumesFrom names containers, NAME[:MODE], that lend theirs; Binds
	// are the mounts in the words of -v.
	Volumes     []string `json:",omitempty"`
	VolumesFrom []string `json:",omitempty"`
	Binds       []string `json:",omitempty"`
	// NetworkMode is the first network's name or one of the modes; a mode has
	// no Networks.
	NetworkMode string
	Networks    []NetworkRequest
	Expose      []Port // which PublishAll is about
	Ports       []PortBinding
	PublishAll  bool
	Naming      Naming
	Restart     RestartPolicy
	Health      *HealthCheck // nil: none
	AutoRemove  bool
	Service     *ServiceTask // nil for standalone containers
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
	// StateRestarting is ended, and to be started again in a while.
	StateRestarting ContainerState = "restarting"
)

// Container is a container of this node and what became of it.
type Container struct {
	ID        string // 64 hex digits
	Spec      ContainerSpec
	ImageID   string // of the image it was made of
	State     ContainerState
	Pid       int // 0 unless running; as the engine's PID namespace sees it
	ExitCode  int
	OOMKilled bool   // the last run ended for want of memory
	Error     string // why it could not start
	Created   time.Time
	Started   time.Time
	Finished  time.Time
	Endpoints []Endpoint
	// Egress is its way out where no network of its own leads out: an endpoint
	// on docker_gwbridge. Nil: none.
	Egress  *Endpoint `json:",omitempty"`
	Sandbox string    // path of its network namespace; empty before the first start

	RestartCount int  `json:",omitempty"` // by its policy, since somebody started it
	Stopped      bool `json:",omitempty"` // by somebody's wish, so that its policy rests
	Health       *Health
}

// AllEndpoints gives the endpoints with the egress.
func (c Container) AllEndpoints() []Endpoint {
	if c.Egress == nil {
		return c.Endpoints
	}
	return append(slices.Clone(c.Endpoints), *c.Egress)
}

// FreeIfName gives the first of eth0, eth1, ... no endpoint has.
func (c Container) FreeIfName() string {
	all := c.AllEndpoints()
	for i := 0; ; i++ {
		name := fmt.Sprintf("eth%d", i)
		if !slices.ContainsFunc(all, func(e Endpoint) bool { return e.IfName == name }) {
			return name
		}
	}
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	Code     int // 128+n when signal n ended it
	Finished time.Time
	Err      string
	// OOMKilled says that the kernel killed a process of the container for the
	// container's memory limit.
	OOMKilled bool `json:",omitempty"`
}

// Task is a service task the swarm gave this node.
type Task struct {
	ID          string
	Spec        ContainerSpec
	Attachments []Attachment
}
