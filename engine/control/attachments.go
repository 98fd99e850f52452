package control

import (
	"context"
	"sort"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/engine/model"
)

// attachments are the attachment tasks of this node, by task ID.
type attachments struct {
	mu    sync.Mutex // guards slots
	slots map[string]*slot
}

func newAttachments() *attachments { return &attachments{slots: map[string]*slot{}} }

// slot gives the slot of a task and makes it if need be: the one who asked for
// the attachment and the agent that is assigned it come in either order.
func (a *attachments) slot(taskID string) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.slots[taskID]
	if s == nil {
		s = &slot{taskID: taskID, settled: make(chan struct{}), given: make(chan struct{})}
		a.slots[taskID] = s
	}
	return s
}

func (a *attachments) drop(taskID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.slots, taskID)
}

func (a *attachments) all() []*slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*slot, 0, len(a.slots))
	for _, s := range a.slots {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].taskID < out[j].taskID })
	return out
}

// find gives the attachment of a container to a network, by ID or name.
func (a *attachments) find(containerID, network string) *slot {
	for _, s := range a.all() {
		if s.is(containerID, network) {
			return s
		}
	}
	return nil
}

func (a *attachments) list() []Attached {
	var out []Attached
	for _, s := range a.all() {
		if at, ok := s.attached(); ok {
			out = append(out, at)
		}
	}
	return out
}

func (a *attachments) containers() []string {
	out := []string{}
	seen := map[string]bool{}
	for _, at := range a.list() {
		if !seen[at.ContainerID] {
			seen[at.ContainerID] = true
			out = append(out, at.ContainerID)
		}
	}
	sort.Strings(out)
	return out
}

// slot is one attachment task: what the swarm gave, and whether the container
// has given it back.
type slot struct {
	taskID  string
	settled chan struct{} // closed when container, got and err are set
	given   chan struct{} // closed when the attachment is given back

	mu        sync.Mutex // guards what follows
	isSettled bool
	container string
	got       model.Attachment
	err       error
	isGiven   bool
	released  bool // the manager knows
}

func (s *slot) settle(container string, got model.Attachment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isSettled {
		return
	}
	s.isSettled = true
	s.container, s.got, s.err = container, got, err
	close(s.settled)
}

func (s *slot) wait(ctx context.Context) (model.Attachment, error) {
	select {
	case <-s.settled:
		return s.attachment()
	case <-ctx.Done():
		return model.Attachment{}, ctx.Err()
	}
}

func (s *slot) attachment() (model.Attachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got, s.err
}

func (s *slot) attached() (Attached, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Attached{s.container, s.got}, s.isSettled && s.err == nil && !s.isGiven
}

func (s *slot) is(containerID, network string) bool {
	at, ok := s.attached()
	nw := at.Attachment.Network
	return ok && at.ContainerID == containerID && (nw.ID == network || nw.Name == network)
}

// release gives the attachment back to the manager, once.
func (s *slot) release(ctx context.Context, detach func(context.Context, string) error) error {
	s.mu.Lock()
	if !s.isGiven {
		s.isGiven = true
		close(s.given)
	}
	done := s.released
	s.mu.Unlock()
	if done {
		return nil
	}
	err := detach(ctx, s.taskID)
	if err != nil && status.Code(err) != codes.NotFound {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	return nil
}
