package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weft/engine/kernel"
	"weft/engine/model"
)

// The files of a container.
const (
	fileBundle  = "bundle.json" // in its bundle directory
	fileRun     = "run.json"
	fileExit    = "exit.json"
	fileLog     = "log.jsonl"
	fileOldLog  = "log.jsonl.1"
	fileShimLog = "shim.log"
	fileSocket  = "shim.sock" // in its run directory
	fileProcs   = "procs.json"
	fileRoot    = "root"
)

// runRecord says that the process was started: the Number of the run counts
// starts, so that an exit record is known to belong to this one.
type runRecord struct {
	Number  int
	Pid     int
	Started time.Time
}

// exitRecord says how a run ended.
type exitRecord struct {
	Number int
	Status model.ExitStatus
}

// procsRecord names the processes of a run. It lives in the run directory: it
// means nothing after a reboot.
type procsRecord struct {
	Shim kernel.Process
	Init kernel.Process // zero until the process exists
}

// readRecord reads a JSON file; a missing one leaves v as it is.
func readRecord(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeRecord replaces a JSON file; when it returns, a crash of the host
// leaves the new one.
func writeRecord(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
