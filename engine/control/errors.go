package control

import (
	"errors"

	swarmnode "github.com/moby/swarmkit/v2/node"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/engine/fault"
)

// Docker's refusals (daemon/cluster/errors.go), word for word.
var (
	errNoSwarm     = fault.Unavailable("This node is not part of a swarm")
	errSwarmExists = fault.Unavailable(`This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.`)
	errJoinTimeout = fault.Unavailable(`Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node.`)
	errLocked      = fault.Unavailable(`Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.`)
	errLockedLeave = fault.Unavailable("Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.")
	errOutside     = fault.Unavailable(`This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`)
	errPreparing   = fault.Unavailable("This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.")
	errWorker      = fault.Unavailable("This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.")
	errNotLocked   = fault.Conflict("swarm is not locked")
	errUnlockKey   = unauthorized{errors.New("swarm could not be unlocked: invalid key provided")}
)

// unauthorized is errdefs' Unauthenticated class (HTTP 401).
type unauthorized struct{ error }

func (unauthorized) Unauthorized() {}

// Unwrap gives the error that was classed.
func (e unauthorized) Unwrap() error { return e.error }

// noQuorum is what a manager answers that sees no leader
// (manager/state/raft/raft.go, lostQuorumMessage): a status without a code of
// its own.
const noQuorum = "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."

// classify gives a gRPC status the class moby gives it
// (api/server/httpstatus, statusCodeFromGRPCError) and keeps its text, which
// Docker prints as it is. Every other error passes as it is.
func classify(err error) error {
	plain, ok := err.(interface{ GRPCStatus() *status.Status })
	if !ok {
		return err
	}
	switch s := plain.GRPCStatus(); s.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return fault.Invalid("%w", err)
	case codes.NotFound:
		return fault.NotFound("%w", err)
	case codes.AlreadyExists:
		return fault.Conflict("%w", err)
	case codes.PermissionDenied:
		return fault.Forbidden("%w", err)
	case codes.Unauthenticated:
		return unauthorized{err}
	case codes.Unimplemented:
		return fault.Unsupported("%w", err)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fault.Unavailable("%w", err)
	default:
		if s.Message() == noQuorum {
			return fault.Unavailable("%w", err)
		}
		return fault.Internal("%w", err)
	}
}

// lockedOr turns SwarmKit's refusal of the unlock key into Docker's.
func lockedOr(err error) error {
	if errors.Is(err, swarmnode.ErrInvalidUnlockKey) {
		return errLocked
	}
	return err
}
