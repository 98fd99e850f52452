package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weft/engine/fault"
	"weft/engine/model"
)

// State is where in its life a container is.
type State struct {
	Status  model.ContainerState // created, running or exited
	Running bool
	Pid     int              // 0 unless running
	Started time.Time        // of the last run; zero when created
	Exit    model.ExitStatus // of the last run; zero unless exited
}

// State gives the state of a container, NotFound when there is none.
func (r *Runtime) State(ctx context.Context, id string) (State, error) {
	st, lost, err := r.look(ctx, id)
	if err != nil || !lost {
		return st, err
	}
	defer r.lock(id)()
	return r.stateLocked(ctx, id)
}

// stateLocked is State for callers that hold the container's lock.
func (r *Runtime) stateLocked(ctx context.Context, id string) (State, error) {
	st, lost, err := r.look(ctx, id)
	if err != nil || !lost {
		return st, err
	}
	if adoptable(r.runDir(id)) {
		return r.adoptRun(ctx, id)
	}
	return r.bury(id)
}

// adoptable reports whether the processes of a run did not die with its shim.
func adoptable(run string) bool {
	_, err := os.Stat(filepath.Join(run, fileTask))
	return err == nil
}

// adoptRun gives a container whose shim died another one, which says what
// became of it meanwhile. The caller holds the container's lock.
func (r *Runtime) adoptRun(ctx context.Context, id string) (State, error) {
	fail := func(err error) (State, error) {
		return State{}, fmt.Errorf("take container %s over, whose shim died: %w", id, err)
	}
	r.cfg.Log.WarnContext(ctx, "shim died, starting another", "container_id", id)
	ctl, shim, err := r.startShim(id, adopting)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = ctl.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ctl.Close() })()
	var answer started
	line, err := bufio.NewReader(ctl).ReadString('\n')
	switch {
	case err != nil:
		return fail(errors.Join(r.shimEnded(id), shim.End()))
	case strings.TrimSpace(line) == lineReady:
		st, _, err := r.look(ctx, id)
		return st, err
	}
	if err := readLine(bufio.NewReader(strings.NewReader(line)), &answer); err != nil {
		return fail(err)
	}
	return fail(answer.failure(id))
}

// look finds out the state of a container. lost means that it was started and
// there is neither a shim nor a word about its end.
func (r *Runtime) look(ctx context.Context, id string) (st State, lost bool, err error) {
	if err := r.exists(id); err != nil {
		return State{}, false, err
	}
	run, exit, err := r.records(id)
	if err != nil || run.Number == 0 || exit.Number == run.Number {
		return stateOf(run, exit), false, err
	}
	conn, err := r.dial(ctx, id)
	if err == nil {
		return State{Status: model.StateRunning, Running: true, Pid: run.Pid, Started: run.Started}, false, conn.Close()
	}
	if !errors.Is(err, errNoShim) {
		return State{}, false, err
	}
	// It may have ended since the records were read.
	run, exit, err = r.records(id)
	return stateOf(run, exit), exit.Number != run.Number, err
}

func stateOf(run runRecord, exit exitRecord) State {
	if run.Number == 0 {
		return State{Status: model.StateCreated}
	}
	return State{Status: model.StateExited, Started: run.Started, Exit: exit.Status}
}

// records reads how the last run began and how the last one that ended did.
func (r *Runtime) records(id string) (run runRecord, exit exitRecord, err error) {
	dir := r.bundleDir(id)
	// In this order: an exit record that is read first could be followed by a
	// run record of a later run.
	err = errors.Join(
		readRecord(filepath.Join(dir, fileRun), &run),
		readRecord(filepath.Join(dir, fileExit), &exit))
	return run, exit, err
}

// bury records the end of a run whose shim left no word about it. The caller
// holds the container's lock.
func (r *Runtime) bury(id string) (State, error) {
	run, _, err := r.records(id)
	if err != nil {
		return State{}, err
	}
	var procs procsRecord
	if err := readRecord(filepath.Join(r.runDir(id), fileProcs), &procs); err != nil {
		return State{}, err
	}
	status := model.ExitStatus{Code: codeLost, Finished: r.cfg.Now(), Err: "the host went down while the container was running"}
	if procs.Init.Pid != 0 {
		// The kernel kills the process when the shim dies; be sure of it.
		if err := procs.Init.End(); err != nil {
			return State{}, fmt.Errorf("end container %s, whose shim died: %w", id, err)
		}
		status.Code, status.Err = codeKilled, "shim died"
	}
	exit := exitRecord{Number: run.Number, Status: status}
	if err := writeRecord(filepath.Join(r.bundleDir(id), fileExit), exit); err != nil {
		return State{}, err
	}
	r.cfg.Log.Warn("container ended without its shim", "container_id", id, "err", status.Err)
	return stateOf(run, exit), nil
}

// Wait blocks until a container is not running and says how its last run
// ended. It fails as Conflict when the container was never started.
func (r *Runtime) Wait(ctx context.Context, id string) (model.ExitStatus, error) {
	for {
		st, err := r.State(ctx, id)
		if err != nil {
			return model.ExitStatus{}, err
		}
		switch {
		case st.Status == model.StateCreated:
			return model.ExitStatus{}, fault.Conflict("container %s has not been started", id)
		case !st.Running:
			return st.Exit, nil
		}
		answer, err := r.call(ctx, id, request{Op: opWait})
		switch {
		case err == nil && answer.Exit != nil:
			return answer.Exit.Status, nil
		case ctx.Err() != nil:
			return model.ExitStatus{}, fmt.Errorf("wait for container %s: %w", id, ctx.Err())
		}
		// The shim is gone, or is going: its records tell.
	}
}

// Signal sends a signal to a container's process. It fails as Conflict when
// the container is not running.
func (r *Runtime) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	return r.SignalExec(ctx, id, "", sig)
}

// SignalExec does the same for a further process.
func (r *Runtime) SignalExec(ctx context.Context, id, execID string, sig syscall.Signal) error {
	if err := r.exists(id); err != nil {
		return err
	}
	answer, err := r.call(ctx, id, request{Op: opSignal, Exec: execID, Signal: int(sig)})
	switch {
	case errors.Is(err, errNoShim), err == nil && answer.Gone:
		return fault.Conflict("Container %s is not running", id)
	case err != nil:
		return fmt.Errorf("signal container %s: %w", id, err)
	case answer.Error != "":
		return fault.Internal("signal container %s: %s", id, answer.Error)
	}
	return nil
}

// errNoShim means that no shim answers for a container.
var errNoShim = errors.New("no shim")

// dial connects to a container's shim.
func (r *Runtime) dial(ctx context.Context, id string) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := dialSocket(r.runDir(id))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
		return nil, errNoShim
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the shim of container %s: %w", id, err)
	}
	return conn, nil
}

// call makes one request of one reply.
func (r *Runtime) call(ctx context.Context, id string, req request) (reply, error) {
	conn, err := r.dial(ctx, id)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	answer, err := ask(conn, bufio.NewReader(conn), req)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return answer, err
}

// ask sends a request and reads the reply line.
func ask(conn net.Conn, in *bufio.Reader, req request) (reply, error) {
	var answer reply
	err := writeLine(conn, req)
	if err == nil {
		err = readLine(in, &answer)
	}
	if err != nil && ended(err) == nil || errors.Is(err, syscall.EPIPE) {
		err = errNoShim
	}
	return answer, err
}
