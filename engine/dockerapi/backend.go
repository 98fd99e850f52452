package dockerapi

import (
	"context"
	"io"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/model"
)

// Backends are the parts of the engine the handlers need. All are required.
type Backends struct {
	System     System
	Swarm      Swarm
	Networks   Networks
	Containers Containers
	Files      Files
	Images     Images
	Volumes    Volumes
	Events     Events
}

// System answers for the engine as a whole.
type System interface {
	Info(ctx context.Context) (system.Info, error)
	Version(ctx context.Context) (types.Version, error)
}

// Swarm is the cluster this node may be part of. Outside a swarm every method
// but Info, Init, Join and Unlock fails with an Unavailable error in Docker's
// words; on a worker those that need a manager do.
type Swarm interface {
	// Info gives the Swarm part of `GET /info`; it never fails.
	Info(ctx context.Context) swarm.Info
	// Init gives the ID of the node that became the first manager.
	Init(ctx context.Context, req swarm.InitRequest) (string, error)
	Join(ctx context.Context, req swarm.JoinRequest) error
	Leave(ctx context.Context, force bool) error
	Inspect(ctx context.Context) (swarm.Swarm, error)
	Update(ctx context.Context, version uint64, spec swarm.Spec, flags swarm.UpdateFlags) error
	UnlockKey(ctx context.Context) (string, error)
	Unlock(ctx context.Context, req swarm.UnlockRequest) error

	// Services lists with Docker's service filters (id, name, label, mode,
	// runtime); status asks for ServiceStatus to be filled.
	Services(ctx context.Context, f filters.Args, status bool) ([]swarm.Service, error)
	Service(ctx context.Context, idOrName string, insertDefaults bool) (swarm.Service, error)
	CreateService(ctx context.Context, spec swarm.ServiceSpec) (swarm.ServiceCreateResponse, error)
	UpdateService(ctx context.Context, idOrName string, version uint64, spec swarm.ServiceSpec, opts swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error)
	RemoveService(ctx context.Context, idOrName string) error

	Nodes(ctx context.Context, f filters.Args) ([]swarm.Node, error)
	Node(ctx context.Context, idOrName string) (swarm.Node, error)
	UpdateNode(ctx context.Context, idOrName string, version uint64, spec swarm.NodeSpec) error
	RemoveNode(ctx context.Context, idOrName string, force bool) error

	Tasks(ctx context.Context, f filters.Args) ([]swarm.Task, error)
	Task(ctx context.Context, id string) (swarm.Task, error)

	// Configs lists with Docker's config filters (id, name, label).
	Configs(ctx context.Context, f filters.Args) ([]swarm.Config, error)
	Config(ctx context.Context, idOrName string) (swarm.Config, error)
	// CreateConfig gives the ID. A taken name is a Conflict, for all but one
	// of those who ask for it at once.
	CreateConfig(ctx context.Context, spec swarm.ConfigSpec) (string, error)
	// UpdateConfig can change labels only.
	UpdateConfig(ctx context.Context, idOrName string, version uint64, spec swarm.ConfigSpec) error
	RemoveConfig(ctx context.Context, idOrName string) error
}

// Networks are the networks this node knows: its own and the swarm's.
type Networks interface {
	// Networks gives every network, without who is attached to it.
	Networks(ctx context.Context) ([]network.Inspect, error)
	// Network gives the network with this full ID, with its containers and,
	// verbose, its services and tasks.
	Network(ctx context.Context, id string, verbose bool) (network.Inspect, error)
	CreateNetwork(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error)
	// RemoveNetwork removes the network with this full ID.
	RemoveNetwork(ctx context.Context, id string) error
	// Connect attaches a container (name or ID) to a network (name or ID).
	Connect(ctx context.Context, networkName, containerName string, settings *network.EndpointSettings) error
	Disconnect(ctx context.Context, networkName, containerName string, force bool) error
}

// AttachOptions says which streams a client wants of a container. Nil streams
// are not wanted.
type AttachOptions struct {
	Logs   bool // first what was written before
	Stream bool // then what is being written, until the process ends
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// LogOptions selects lines of a container's output. Nil streams are not wanted.
type LogOptions struct {
	Follow     bool
	Since      time.Time // zero: from the beginning
	Until      time.Time // zero: no end
	Tail       int       // last lines only; negative: all
	Timestamps bool
	Stdout     io.Writer
	Stderr     io.Writer
}

// WaitCondition is what `POST /containers/{id}/wait` waits for.
type WaitCondition string

// The conditions Docker's API knows.
const (
	WaitNotRunning WaitCondition = "not-running"
	WaitNextExit   WaitCondition = "next-exit"
	WaitRemoved    WaitCondition = "removed"
)

// Containers are the containers of this node, standalone ones and tasks'.
// Wherever a method takes a name it takes a full ID, a unique prefix of one,
// or a name with or without the leading slash.
type Containers interface {
	// Create gives the ID and warnings. Unknown images fail as NotFound.
	Create(ctx context.Context, spec model.ContainerSpec) (id string, warnings []string, err error)
	Container(ctx context.Context, name string) (model.Container, error)
	Containers(ctx context.Context) ([]model.Container, error)
	Start(ctx context.Context, name string) error
	// Stop sends the stop signal (signal, if not empty), then SIGKILL after
	// grace; nil is the container's own grace, negative is no limit. stopped
	// is false when the container was not running.
	Stop(ctx context.Context, name, signal string, grace *time.Duration) (stopped bool, err error)
	// Kill sends a signal, SIGKILL if empty. A Conflict error says by itself
	// that the container could not be killed; the others get that from the API.
	Kill(ctx context.Context, name, signal string) error
	// Remove takes the anonymous volumes along when volumes is set.
	Remove(ctx context.Context, name string, force, volumes bool) error
	Rename(ctx context.Context, name, newName string) error
	// Resize tells the process how large its terminal is, if it has one.
	Resize(ctx context.Context, name string, rows, cols uint16) error
	// CreateExec notes a further process and gives its ID.
	CreateExec(ctx context.Context, name string, exec model.Exec) (string, error)
	Exec(ctx context.Context, id string) (model.Exec, error)
	// StartExec runs it until its output ends; without streams, until it runs.
	StartExec(ctx context.Context, id string, opts AttachOptions, attached func() error) error
	ResizeExec(ctx context.Context, id string, rows, cols uint16) error
	// Wait blocks until the condition holds. registered is called once the
	// wait can not miss the event any more; Docker sends its header then.
	Wait(ctx context.Context, name string, cond WaitCondition, registered func()) (model.ExitStatus, error)
	// Attach blocks until the streams end. attached is called as soon as no
	// output can be lost any more: the handler answers the client then.
	Attach(ctx context.Context, name string, opts AttachOptions, attached func() error) error
	Logs(ctx context.Context, name string, opts LogOptions) error
	// Stats measures a container once. One that does not run has no time of
	// reading.
	Stats(ctx context.Context, name string) (container.StatsResponse, error)
}

// WriteOptions say how an archive gets into a container.
type WriteOptions struct {
	KeepKind    bool // a directory does not take the place of a file, nor a file a directory's
	OwnedByUser bool // everything is to be the container's user's
}

// Files are the files of this node's containers, whether these run or not. A
// path that is not there is NotFound.
type Files interface {
	StatPath(ctx context.Context, name, path string) (container.PathStat, error)
	// ReadPath writes what is at a path as a tar archive, once it is known what
	// that is.
	ReadPath(ctx context.Context, name, path string, begin func(container.PathStat) io.Writer) error
	// WritePath unpacks a tar archive, compressed or not, in a directory.
	WritePath(ctx context.Context, name, path string, archive io.Reader, opts WriteOptions) error
	// Export writes the container's root as a tar archive, without what is
	// mounted in it.
	Export(ctx context.Context, name string, begin func() io.Writer) error
}

// Images are the images of this node. Wherever a method takes a ref it takes a
// name in any of Docker's forms, an ID or a unique prefix of one.
type Images interface {
	// Images gives all of them, newest first.
	Images(ctx context.Context) ([]model.Image, error)
	Image(ctx context.Context, ref string) (model.Image, error)
	LoadImages(ctx context.Context, in io.Reader) ([]model.LoadedImage, error)
	SaveImages(ctx context.Context, out io.Writer, refs []string) error
	// ImportImage gives the ID.
	ImportImage(ctx context.Context, in io.Reader, opts model.ImportOptions) (string, error)
	PullImage(ctx context.Context, ref string, opts model.PullOptions) error
	TagImage(ctx context.Context, ref, name string) error
	RemoveImage(ctx context.Context, ref string, force bool) ([]model.ImageRemoval, error)
	// PruneImages removes images no container uses, all or the dangling ones,
	// that wanted accepts. It gives the bytes that became free.
	PruneImages(ctx context.Context, all bool, wanted func(id string) bool) ([]model.ImageRemoval, int64, error)
	// AskRegistry gives what a registry has under a name.
	AskRegistry(ctx context.Context, ref string, cred model.Credentials) (ocispec.Descriptor, error)
}

// Volumes are the volumes of this node.
type Volumes interface {
	// Create gives the volume of that name as it is when there is one.
	Create(ctx context.Context, req model.VolumeRequest) (model.Volume, error)
	Volume(ctx context.Context, name string) (model.Volume, error)
	// Volumes gives all of them in the order of their names; Used the names of
	// those a container has.
	Volumes(ctx context.Context) ([]model.Volume, error)
	Used(ctx context.Context) (map[string]bool, error)
	// Remove fails as Conflict while a container has the volume; force makes
	// nothing of one that is not there.
	Remove(ctx context.Context, name string, force bool) error
	// Prune removes the unused volumes that wanted accepts.
	Prune(ctx context.Context, wanted func(model.Volume) bool) (names []string, freed int64, err error)
}

// Events is the engine's stream of events.
type Events interface {
	// Subscribe gives the events since a time (zero: none of the past), then
	// those to come on a channel that cancel closes. A subscriber that does
	// not read is dropped: its channel is closed.
	Subscribe(since time.Time) (past []model.Event, next <-chan model.Event, cancel func())
}
