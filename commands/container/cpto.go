package container

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/docker/docker/api/types/container"
	"github.com/moby/go-archive"

	"weft/commands/cmdenv"
)

// copyTarget unpacks a tar archive in a container.
type copyTarget interface {
	pathStater
	CopyToContainer(ctx context.Context, id, path string, content io.Reader, options container.CopyToContainerOptions) error
}

func copyTo(ctx context.Context, env *cmdenv.Env, api copyTarget, o *copyOptions, c copied) error {
	target, err := targetInfo(ctx, api, c)
	if err != nil {
		return err
	}
	dir, content := target.Path, io.NopCloser(env.In)
	if c.source == "-" && !target.IsDir {
		return fmt.Errorf("destination \"%s:%s\" must be a directory", c.container, c.destination)
	}
	if c.source != "-" {
		var done func()
		if dir, content, done, err = localArchive(c.source, o.followLink, target); err != nil {
			return err
		}
		defer done()
	}
	meter := newCopyMeter(env, o.quiet, "Copying to container - ", content)
	if c.source == "-" {
		meter.uncounted = true // as docker has it
	}
	err = api.CopyToContainer(ctx, c.container, dir, meter, container.CopyToContainerOptions{CopyUIDGID: o.archive})
	meter.end(c.container + ":" + target.Path)
	return err
}

// targetInfo looks at the destination, and at what it leads to if it is a
// link. One that is not there may be made: then the daemon looks at its parent.
func targetInfo(ctx context.Context, api copyTarget, c copied) (archive.CopyInfo, error) {
	info := archive.CopyInfo{Path: c.destination}
	stat, err := api.ContainerStatPath(ctx, c.container, c.destination)
	if err == nil && stat.Mode&os.ModeSymlink != 0 {
		info.Path = linkTarget(c.destination, stat)
		stat, err = api.ContainerStatPath(ctx, c.container, info.Path)
	}
	if refused := checkWritable(stat.Mode); refused != nil {
		return info, fmt.Errorf(`destination "%s:%s" must be a directory or a regular file: %w`, c.container, c.destination, refused)
	}
	if err == nil {
		info.Exists, info.IsDir = true, stat.Mode.IsDir()
	}
	return info, nil // an error is no refusal: what cannot be seen may come to be
}

// localArchive archives a path of ours for unpacking in a directory of the
// container, so that it ends up as target says. done ends the archiving.
func localArchive(path string, followLink bool, target archive.CopyInfo) (dir string, content io.ReadCloser, done func(), err error) {
	if path, err = localPath(path); err != nil {
		return "", nil, nil, err
	}
	source, err := archive.CopyInfoSourcePath(path, followLink)
	if err != nil {
		return "", nil, nil, err
	}
	packed, err := archive.TarResource(source)
	if err != nil {
		return "", nil, nil, err
	}
	dir, content, err = archive.PrepareArchiveCopy(packed, source, target)
	if err != nil {
		_ = packed.Close() // nothing has been read
		return "", nil, nil, err
	}
	return dir, content, func() {
		_ = content.Close() // read to their ends, or given up
		_ = packed.Close()
	}, nil
}
