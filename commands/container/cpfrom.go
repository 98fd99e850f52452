package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/docker/docker/api/types/container"
	"github.com/moby/go-archive"

	"weft/commands/cmdenv"
)

// copySource gives a part of a container's file system as a tar archive.
type copySource interface {
	pathStater
	CopyFromContainer(ctx context.Context, id, path string) (io.ReadCloser, container.PathStat, error)
}

func copyFrom(ctx context.Context, env *cmdenv.Env, api copySource, o *copyOptions, c copied) error {
	destination := c.destination
	if destination != "-" {
		var err error
		if destination, err = localPath(destination); err != nil {
			return err
		}
	}
	if err := checkOutput(destination); err != nil {
		return err
	}
	source, rebase := c.source, ""
	if o.followLink { // the link's target is copied under the link's name
		stat, err := api.ContainerStatPath(ctx, c.container, source)
		if err == nil && stat.Mode&os.ModeSymlink != 0 {
			source, rebase = archive.GetRebaseName(source, linkTarget(source, stat))
		}
	}
	content, stat, err := api.CopyFromContainer(ctx, c.container, source)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // read to its end, or given up
	if destination == "-" {
		_, err = io.Copy(env.Out, content)
		return err
	}
	meter := newCopyMeter(env, o.quiet, "Copying from container - ", content)
	var entries io.Reader = meter
	if rebase != "" {
		_, base := archive.SplitPathDirEntry(source)
		entries = archive.RebaseArchiveEntries(meter, base, rebase)
	}
	err = archive.CopyTo(entries, archive.CopyInfo{Path: source, Exists: true, IsDir: stat.Mode.IsDir(), RebaseName: rebase}, destination)
	meter.end(destination)
	return err
}

// checkOutput wants a path that files can be written to.
func checkOutput(path string) error {
	dir := filepath.Dir(filepath.Clean(path))
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return fmt.Errorf("invalid output path: directory %q does not exist", dir)
	}
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return err
	}
	if err := checkWritable(info.Mode()); err != nil {
		return fmt.Errorf("invalid output path: %q must be a directory or a regular file: %w", path, err)
	}
	return nil
}

func checkWritable(mode os.FileMode) error {
	switch {
	case mode&os.ModeDevice != 0:
		return errors.New("got a device")
	case mode&os.ModeIrregular != 0:
		return errors.New("got an irregular file")
	}
	return nil
}
