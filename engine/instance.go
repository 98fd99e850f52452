package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// instanceFile holds what Instance says of the engine that owns a run
// directory. The engine keeps it locked while it lives: the lock, not the
// number in the file, is the proof, so a crash needs no cleaning up.
const instanceFile = "engine.json"

// Instance describes a running engine.
type Instance struct {
	Pid     int       `json:"pid"`
	Version string    `json:"version"`
	Listen  []string  `json:"listen"`
	DataDir string    `json:"data_dir"`
	Started time.Time `json:"started"`
}

// claim makes runDir ours until the file given back is closed.
func claim(runDir string, in Instance) (*os.File, error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil { //nolint:gosec // clients must reach the socket inside
		return nil, fault.Internal("make --run-dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(runDir, instanceFile), os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // `engine status` is for everyone
	if err != nil {
		return nil, fault.Internal("open the instance file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fault.Conflict("another engine runs with --run-dir %s: stop it with `weft engine stop --run-dir %s`, or choose another one", runDir, runDir), f.Close())
	}
	b, err := json.Marshal(in)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err != nil {
		return nil, errors.Join(fault.Internal("write the instance file: %w", err), f.Close())
	}
	return f, nil
}

// release gives up the lock. The file stays: removing it would let two engines
// lock two files of the same name.
func release(f *os.File) error { return errors.Join(f.Truncate(0), f.Close()) }

// Running gives the engine that owns runDir; false when none does.
func Running(runDir string) (Instance, bool, error) {
	f, err := os.Open(filepath.Join(runDir, instanceFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return Instance{}, false, nil
	}
	if err != nil {
		return Instance{}, false, fault.Internal("look for an engine: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return Instance{}, false, nil
	}
	var in Instance
	if err := json.NewDecoder(f).Decode(&in); err != nil {
		return Instance{}, true, fault.Internal("read %s: %w", f.Name(), err)
	}
	return in, true, nil
}

// Stop asks the engine that owns runDir to end and waits until it has. It
// gives false when there was none.
func Stop(ctx context.Context, runDir string) (bool, error) {
	in, ok, err := Running(runDir)
	if err != nil || !ok {
		return false, err
	}
	fd, err := unix.PidfdOpen(in.Pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return true, nil // it ended between the two looks
	}
	if err != nil {
		return true, fault.Internal("open the engine's process (pid %d): %w", in.Pid, err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return true, errors.Join(fault.Internal("signal the engine (pid %d): %w", in.Pid, err), unix.Close(fd))
	}
	// Not the lock, which comes free a moment before the process ends. The wait
	// can not be interrupted; on a timeout it ends with this command.
	gone := make(chan error, 1)
	go func() { gone <- errors.Join(awaitExit(fd), unix.Close(fd)) }()
	select {
	case err := <-gone:
		return true, err
	case <-ctx.Done():
		return true, fault.Unavailable("the engine (pid %d) has not stopped yet: see `weft engine logs`", in.Pid)
	}
}

// awaitExit waits for the process of a pidfd, which is readable once it has
// ended.
func awaitExit(fd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) //nolint:gosec // a descriptor
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
