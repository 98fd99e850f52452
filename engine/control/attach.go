package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/moby/swarmkit/v2/agent/exec"
	"github.com/moby/swarmkit/v2/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/engine/fault"
	"weft/engine/model"
)

// Attached is a standalone container's attachment to a swarm network, as the
// swarm has it.
type Attached struct {
	ContainerID string
	Attachment  model.Attachment
}

// Attachments lists those of this node.
func (n *Node) Attachments() []Attached {
	v := n.current().view()
	if v.exec == nil {
		return nil
	}
	return v.exec.attachments.list()
}

// Attach asks the swarm for an attachment of a standalone container to an
// attachable network, with these addresses if any are given, and waits for it.
// An attachment the container has already is given again.
func (n *Node) Attach(ctx context.Context, containerID, networkNameOrID string, addrs []netip.Addr) (model.Attachment, error) {
	v := n.current().view()
	if v.node == nil || v.exec == nil || v.node.Agent() == nil {
		return model.Attachment{}, v.noManager()
	}
	if s := v.exec.attachments.find(containerID, networkNameOrID); s != nil {
		return s.attachment()
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	raw := make([]string, len(addrs))
	for i, a := range addrs {
		raw[i] = a.String()
	}
	allocator := v.node.Agent().ResourceAllocator()
	id, err := allocator.AttachNetwork(ctx, containerID, networkNameOrID, raw)
	if err != nil {
		return model.Attachment{}, reworded(err, fmt.Sprintf("Could not attach to network %s: %v", networkNameOrID, err))
	}
	s := v.exec.attachments.slot(id)
	a, err := s.wait(ctx)
	if err == nil {
		return a, nil
	}
	if ctx.Err() != nil {
		err = fault.Unavailable("attaching to network failed, make sure your network options are correct and check manager logs: %w", ctx.Err())
	}
	undo, cancelUndo := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancelUndo()
	return model.Attachment{}, undone(err, s.release(undo, allocator.DetachNetwork))
}

// reworded gives err another text and leaves it its class.
func reworded(err error, text string) error {
	switch s := status.Code(err); s {
	case codes.NotFound:
		return fault.NotFound("%s", text)
	case codes.PermissionDenied:
		return fault.Forbidden("%s", text)
	case codes.InvalidArgument, codes.FailedPrecondition:
		return fault.Invalid("%s", text)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fault.Unavailable("%s", text)
	default:
		if errors.Is(err, context.DeadlineExceeded) {
			return fault.Unavailable("%s", text)
		}
		return fault.Internal("%s", text)
	}
}

// Detach gives a container's attachment to a network back to the swarm. When
// no manager can be reached the agent goes on trying, and Detach says so.
func (n *Node) Detach(ctx context.Context, containerID, networkID string) error {
	v := n.current().view()
	if v.node == nil || v.exec == nil || v.node.Agent() == nil {
		return v.noManager()
	}
	s := v.exec.attachments.find(containerID, networkID)
	if s == nil {
		return fault.NotFound("could not find network attachment for container %s to network %s", containerID, networkID)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := s.release(ctx, v.node.Agent().ResourceAllocator().DetachNetwork); err != nil {
		return reworded(err, fmt.Sprintf("detach container %s from network %s: %v", containerID, networkID, err))
	}
	v.exec.attachments.drop(s.taskID)
	return nil
}

// attachController stands for a standalone container in the agent: it hands
// the allocated attachment over and lasts until that is given back.
type attachController struct {
	exec *executor
	slot *slot
	task *api.Task
}

func newAttachController(e *executor, t *api.Task, containerID string) exec.Controller {
	c := &attachController{exec: e, slot: e.attachments.slot(t.ID), task: t}
	switch {
	case t.Status.State > api.TaskStateRunning:
		c.slot.settle(containerID, model.Attachment{}, fault.Unavailable("Could not attach to network %s: %s", targetOf(t), t.Status.Err))
	case len(t.Networks) == 0:
		c.slot.settle(containerID, model.Attachment{}, fault.Internal("the swarm gave attachment %s no network", t.ID))
	case t.Status.State == api.TaskStateRunning: // adopted after a restart
		c.slot.settle(containerID, attachmentModel(t.Networks[0]), nil)
	}
	return c
}

func targetOf(t *api.Task) string {
	if len(t.Networks) > 0 && t.Networks[0].Network != nil {
		return t.Networks[0].Network.Spec.Annotations.Name
	}
	return t.Spec.Networks[0].Target
}

// Update implements exec.Controller.
func (*attachController) Update(context.Context, *api.Task) error { return nil }

// Prepare implements exec.Controller.
func (c *attachController) Prepare(context.Context) error {
	for _, na := range c.task.Networks {
		if err := usable(na.Network); err != nil {
			c.slot.settle(c.container(), model.Attachment{}, err)
			return err
		}
	}
	return nil
}

// Start implements exec.Controller.
func (c *attachController) Start(context.Context) error {
	if len(c.task.Networks) == 0 {
		return fault.Internal("the swarm gave attachment %s no network", c.task.ID)
	}
	c.slot.settle(c.container(), attachmentModel(c.task.Networks[0]), nil)
	return nil
}

// Wait implements exec.Controller.
func (c *attachController) Wait(ctx context.Context) error {
	select {
	case <-c.slot.given:
	case <-ctx.Done():
		return ctx.Err()
	}
	v := c.exec.run.view()
	if v.node == nil || v.node.Agent() == nil {
		return exec.MakeTemporary(errNoSwarm)
	}
	if err := c.slot.release(ctx, v.node.Agent().ResourceAllocator().DetachNetwork); err != nil {
		return exec.MakeTemporary(err)
	}
	return nil
}

// Shutdown implements exec.Controller.
func (*attachController) Shutdown(context.Context) error { return nil }

// Terminate implements exec.Controller.
func (*attachController) Terminate(context.Context) error { return nil }

// Remove implements exec.Controller.
func (c *attachController) Remove(context.Context) error {
	c.exec.attachments.drop(c.task.ID)
	return nil
}

// Close implements exec.Controller.
func (*attachController) Close() error { return nil }

func (c *attachController) container() string { return c.task.Spec.GetAttachment().ContainerID }
