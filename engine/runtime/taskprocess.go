package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"weft/engine/containerd"
	"weft/engine/kernel"
	"weft/engine/model"
)

// taskProcess is a process containerd has made.
type taskProcess struct {
	client *containerd.Client
	name   containerd.Process
	pipes  fifos
	proc   kernel.Process // set before it is a session's

	input    *os.File // nil: none
	terminal bool
	closing  sync.Once
}

func (m *taskMaker) process(exec string, pipes fifos) *taskProcess {
	return &taskProcess{client: m.client, name: containerd.Process{Container: m.bundle.ID, Exec: exec}, pipes: pipes}
}

// openInput opens our end of the input, for the session too.
func (p *taskProcess) openInput(s *session) (err error) {
	p.terminal = s.stdio.stderr.ours == nil
	p.input, err = p.pipes.openInput()
	s.stdio.stdin.ours = p.input
	return err
}

func (p *taskProcess) id() (kernel.Process, error) { return p.proc, nil }

// signal needs no containerd: runc does the same, and it may be away.
func (p *taskProcess) signal(sig syscall.Signal) error { return p.proc.Signal(sig) }

func (p *taskProcess) resize(rows, cols uint16) error {
	if !p.terminal {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	return p.client.Resize(ctx, p.name, rows, cols)
}

func (p *taskProcess) endInput() {
	if p.input == nil || p.terminal {
		return
	}
	p.closing.Do(func() {
		_ = p.input.Close()
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		_ = p.client.CloseInput(ctx, p.name) // a process that has ended needs it no more
	})
}

const (
	// askAgain is how long after an answer that says nothing the next is asked
	// for.
	askAgain = 100 * time.Millisecond
	// tellTimeout is how long containerd may take to tell how a process ended
	// that is dead.
	tellTimeout = 10 * time.Second
)

// wait waits through the death of containerd and its return, unless the
// process ends before that.
func (p *taskProcess) wait() model.ExitStatus {
	ctx, cancel := context.WithCancel(context.Background())
	defer p.cancelAfterDeath(cancel)()
	for {
		exit, err := p.client.Wait(ctx, p.name)
		switch {
		case err == nil:
			return model.ExitStatus{Code: exit.Code, Finished: exit.Finished}
		case ctx.Err() != nil:
			return model.ExitStatus{Code: codeLost, Err: "it is not known how the container ended: containerd does not say"}
		case !containerd.Transient(err):
			return p.orphaned(err)
		}
		timer := time.NewTimer(askAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// orphaned ends a process whose shim of containerd's died: nobody can be told
// any more how it ends.
func (p *taskProcess) orphaned(err error) model.ExitStatus {
	err = fmt.Errorf("containerd's shim died: %w", errors.Join(err, p.proc.End()))
	return model.ExitStatus{Code: codeKilled, Err: err.Error()}
}

// cancelAfterDeath calls cancel when the process has been dead for as long as
// containerd may take to say so. stop ends that and calls cancel.
func (p *taskProcess) cancelAfterDeath(cancel func()) (stop func()) {
	ref, err := kernel.OpenPidfd(p.proc)
	stopped := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		if err == nil {
			_ = ref.Await() // until ref is closed
		}
		timer := time.NewTimer(tellTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-stopped:
		}
	})
	return func() {
		close(stopped)
		if err == nil {
			_ = ref.Close()
		}
		watcher.Wait()
		cancel()
	}
}
