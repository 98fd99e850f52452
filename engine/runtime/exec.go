package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"weft/engine/fault"
	"weft/engine/model"
)

// Exec starts a further process in a running container under an ID of the
// caller's choice and connects its streams until its output ends; a detached
// one only until it runs. A command that can't be executed is told where its
// output would be, unless it is detached. It fails as Conflict when the
// container does not run.
func (r *Runtime) Exec(ctx context.Context, id, execID string, spec model.ExecSpec, opts AttachOptions) error {
	if err := r.exists(id); err != nil {
		return err
	}
	if err := checkEnv(spec.Env); err != nil {
		return err
	}
	conn, err := r.dial(ctx, id)
	if errors.Is(err, errNoShim) {
		return notRunning(id)
	}
	if err != nil {
		return err
	}
	c := &attachedConn{conn: conn, in: bufio.NewReaderSize(conn, frameHead+frameMax)}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	answer, err := ask(conn, c.in, request{
		Op: opExec, Exec: execID, Spec: &spec, Stdin: opts.Stdin != nil,
		Stdout: opts.Stdout != nil, Stderr: opts.Stderr != nil,
	})
	stop()
	if errors.Is(err, errNoShim) {
		err = notRunning(id)
	}
	if err == nil && answer.Error != "" {
		err = &ExecError{Msg: answer.Error}
	}
	if err != nil || spec.Detached {
		_ = conn.Close()
		return err
	}
	if err := c.attached(opts, nil); err != nil {
		return err
	}
	return c.stream(ctx, opts)
}

func notRunning(id string) error { return fault.Conflict("container %s is not running", id) }

// WaitExec blocks until a further process has ended and says how. It fails as
// NotFound for one that was never started, or whose container has ended.
func (r *Runtime) WaitExec(ctx context.Context, id, execID string) (model.ExitStatus, error) {
	answer, err := r.call(ctx, id, request{Op: opWait, Exec: execID})
	for errors.Is(err, errNoShim) { // another one may have taken over
		if st, lost := r.State(ctx, id); lost != nil || !st.Running {
			break
		}
		answer, err = r.call(ctx, id, request{Op: opWait, Exec: execID})
	}
	switch {
	case errors.Is(err, errNoShim), err == nil && (answer.Gone || answer.Exit == nil):
		return model.ExitStatus{}, fault.NotFound("No such exec instance: %s", execID)
	case err != nil:
		return model.ExitStatus{}, fmt.Errorf("wait for process %s of container %s: %w", execID, id, err)
	}
	return answer.Exit.Status, nil
}

// Resize tells a process how large its terminal is: the first one of a
// container, or the further one that execID names. Without a terminal nothing
// happens. It fails as Conflict when the container does not run.
func (r *Runtime) Resize(ctx context.Context, id, execID string, rows, cols uint16) error {
	if err := r.exists(id); err != nil {
		return err
	}
	answer, err := r.call(ctx, id, request{Op: opResize, Exec: execID, Rows: rows, Cols: cols})
	switch {
	case errors.Is(err, errNoShim):
		return notRunning(id)
	case err != nil:
		return fmt.Errorf("resize terminal of container %s: %w", id, err)
	case answer.Gone:
		return fault.NotFound("No such exec instance: %s", execID)
	case answer.Error != "":
		return fault.Internal("resize terminal of container %s: %s", id, answer.Error)
	}
	return nil
}
