package enginecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine"
)

// logName is the file in the data directory that `start` lets the engine log to.
const logName = "engine.log"

// logLimit is the size above which `start` puts the log aside, bytes.
const logLimit = 10 << 20

func newStart(env *cmdenv.Env, self string) *cobra.Command {
	var o runOptions
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "start [OPTIONS]",
		Short: "Start the engine in the background and wait until it is ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return start(ctx, env, &o, self)
		},
	}
	o.bind(cmd, env)
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "How long to wait until the engine is ready")
	return cmd
}

func start(ctx context.Context, env *cmdenv.Env, o *runOptions, self string) error {
	if _, err := o.config(); err != nil {
		return err
	}
	in, running, err := engine.Running(o.runDir)
	if err != nil {
		return err
	}
	if running {
		_, err := fmt.Fprintf(env.Out, "The engine is running already: %s (pid %d)\n", strings.Join(in.Listen, ", "), in.Pid)
		return err
	}
	log, err := openLog(o.dataDir)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the engine has its own descriptor
	args := o.args()
	if env.Debug() {
		args = append([]string{"--debug"}, args...)
	}
	if err := spawn(ctx, append([]string{self}, args...), log); err != nil {
		return err
	}
	in, running, err = engine.Running(o.runDir)
	if err != nil || !running {
		return errors.Join(errors.New("the engine ended right after its start: see `weft engine logs`"), err)
	}
	if _, err := fmt.Fprintf(env.Out, "The engine is ready: %s (pid %d)\n", strings.Join(in.Listen, ", "), in.Pid); err != nil {
		return err
	}
	return tellLimits(env)
}

// spawn starts `weft engine run` in a session of its own and waits until it is
// ready or has ended.
func spawn(ctx context.Context, argv []string, log *os.File) (err error) {
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	ready, err := newReadiness()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ready.close()) }()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // this very binary, which has to outlive this command
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), notifyVar+"="+ready.path())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // ends with the child, or with this process right after a success
		ended <- cmd.Wait()
		cancel()
	}()
	waitErr := ready.wait(ctx)
	if waitErr == nil {
		return nil
	}
	select {
	case <-ended: //nolint:errcheck // how it ended is in the log
		return whyItEnded(log, from)
	default:
	}
	err = cmd.Process.Signal(syscall.SIGTERM)
	return errors.Join(errors.New("the engine did not get ready in time and was stopped: see `weft engine logs`"), err)
}

// whyItEnded gives the error a failed engine printed last.
func whyItEnded(log *os.File, from int64) error {
	b, err := io.ReadAll(io.NewSectionReader(log, from, logLimit))
	if err != nil {
		return fmt.Errorf("the engine did not start, and its log can't be read: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	last := strings.TrimPrefix(lines[len(lines)-1], "weft: ")
	if last == "" {
		last = "it ended without a word"
	}
	return fmt.Errorf("the engine did not start: %s", last)
}

func openLog(dataDir string) (*os.File, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make --data-dir: %w", err)
	}
	path := filepath.Join(dataDir, logName)
	if st, err := os.Stat(path); err == nil && st.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("put the old log aside: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("open the engine's log: %w", err)
	}
	return f, nil
}
