package enginecmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

func newLogs(env *cmdenv.Env) *cobra.Command {
	var dataDir string
	var follow bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS]",
		Short: "Show the log of an engine started with `weft engine start`",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return logs(cmd.Context(), env.Out, filepath.Join(dataDir, logName), tail, follow)
		},
	}
	addDataDir(cmd, env, &dataDir)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "Go on with what is logged from now on")
	cmd.Flags().IntVarP(&tail, "tail", "n", -1, "Show only this many of the last lines (default all)")
	return cmd
}

func logs(ctx context.Context, out io.Writer, path string, tail int, follow bool) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no log at %s: the engine was not started with `weft engine start`, or with another --data-dir; under systemd see `journalctl -u weft`", path)
	}
	if err != nil {
		return fmt.Errorf("open the engine's log: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	if tail >= 0 {
		if err := seekTail(f, tail); err != nil {
			return err
		}
	}
	if _, err := io.Copy(out, f); err != nil || !follow {
		return err
	}
	// A log file has no event to wait for that works on every file system.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if _, err := io.Copy(out, f); err != nil {
				return err
			}
		}
	}
}

// seekTail puts f before its last n lines.
func seekTail(f *os.File, n int) error {
	const block = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("read the engine's log: %w", err)
	}
	// The line feed at the very end closes the last line, it begins none.
	want, pos, buf := n+1, end, make([]byte, block)
	for pos > 0 {
		size := min(pos, block)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil {
			return fmt.Errorf("read the engine's log: %w", err)
		}
		for i := int(size); i > 0; {
			i = bytes.LastIndexByte(buf[:i], '\n')
			if i < 0 {
				break
			}
			if want--; want == 0 {
				_, err := f.Seek(pos+int64(i)+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
