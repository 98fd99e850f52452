package containerd

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
)

// RuntimeName is containerd's name for its shim for runc, and Docker's.
const RuntimeName = "io.containerd.runc.v2"

// DefaultAddress is the socket of a distribution's containerd.
const DefaultAddress = "/run/containerd/containerd.sock"

// Ref says where containers are: at which daemon, in which of its namespaces.
type Ref struct {
	Address   string // path of the socket
	Namespace string // of containerd, not of the kernel
}

// reconnect bounds the time between two attempts to reach a daemon that is
// away.
const reconnect = time.Second

// Client is a connection to a daemon. It is safe for concurrent use and
// connects again by itself.
type Client struct {
	ref    Ref
	client *client.Client
	tasks  tasks.TasksClient
}

// Open makes a client; the daemon is asked at the first call.
func Open(ref Ref) (*Client, error) {
	c, err := client.New(ref.Address, client.WithTimeout(reconnect))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w", ref.Address, err)
	}
	return &Client{ref: ref, client: c, tasks: c.TaskService()}, nil
}

// Close lets the connection go.
func (c *Client) Close() error { return c.client.Close() }

// in gives the context the daemon's services want.
func (c *Client) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, c.ref.Namespace)
}

// patient lets a call wait for a daemon that is away.
func patient() grpc.CallOption { return grpc.WaitForReady(true) }

// failed names what was attempted; the class of the daemon's error stays.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("containerd: %s: %w", what, errgrpc.ToNative(err))
}

// unlessGone drops the error of an object that is not there.
func unlessGone(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
