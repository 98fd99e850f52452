package control

import (
	"context"
	"net/netip"

	"weft/engine/model"
)

// Description is what a node tells the swarm about itself.
type Description struct {
	Hostname      string
	Architecture  string // as uname -m: x86_64, aarch64
	OS            string // linux
	NanoCPUs      int64
	MemoryBytes   int64
	EngineVersion string
	Labels        map[string]string
}

// Membership is this node's place in a swarm.
type Membership struct {
	NodeID        string
	AdvertiseAddr netip.Addr
	DataPathAddr  netip.Addr // AdvertiseAddr unless asked for otherwise
	DataPathPort  uint16
	ListenAddr    netip.AddrPort
}

// TaskStatus is what the host knows about a task's container.
type TaskStatus struct {
	ContainerID string
	Pid         int
	ExitCode    int
	Running     bool
	Ports       []model.PublishedPort // of the host
}

// Host is the node the swarm's tasks run on. Its methods are called from
// several goroutines; those about one task are never called concurrently,
// except WaitTask and TaskStatus.
type Host interface {
	Describe(ctx context.Context) (Description, error)
	// Joined says that the membership is up. It comes before SetKeys and
	// before the first PrepareTask, and again after each restart of the node.
	Joined(ctx context.Context, m Membership) error
	// Left says that the membership has ended for good.
	Left(ctx context.Context) error
	// SetKeys hands over all current keys, each time they change.
	SetKeys(ctx context.Context, keys []model.GossipKey) error
	// SetIngress gives this node's own attachment to the swarm's ingress
	// network; nil when the swarm has none. It comes after Joined, after each
	// start of the node and with each change, and is repeated while it fails.
	SetIngress(ctx context.Context, a *model.Attachment) error

	// PrepareTask makes a task ready to start; StartTask starts it. Both may
	// be repeated, and then succeed if the task is already that far.
	PrepareTask(ctx context.Context, t model.Task) error
	StartTask(ctx context.Context, taskID string) error
	// WaitTask blocks until the task's process has ended. After a restart of
	// the engine it is the first call about a running task; for a task that
	// is not here it fails as NotFound.
	WaitTask(ctx context.Context, taskID string) (model.ExitStatus, error)
	// ShutdownTask ends a task with its stop signal and grace, TerminateTask
	// at once, RemoveTask takes away what is left. An unknown task is no error.
	ShutdownTask(ctx context.Context, taskID string) error
	TerminateTask(ctx context.Context, taskID string) error
	RemoveTask(ctx context.Context, taskID string) error
	// TaskStatus is false for a task that is not here.
	TaskStatus(ctx context.Context, taskID string) (TaskStatus, bool)
	// KeepTasks names the tasks and the containers with swarm attachments the
	// agent still wants after a start: all others are orphans. It comes once
	// per start of the node, after SetKeys.
	KeepTasks(ctx context.Context, taskIDs, attachments []string)
}

// Checker is a Host that can tell beforehand whether it could take up a
// membership: ports it needs, privileges, what the kernel can do. Init and Join
// ask it before anything is made here or in the swarm. NodeID is empty and,
// for a Join, DataPathPort is 0: only the swarm knows it.
type Checker interface {
	CheckMembership(ctx context.Context, m Membership) error
}
