package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// removeTimeout is how long Down goes on when the caller's context has ended.
const removeTimeout = 30 * time.Second

// Down removes the lab and its disks: every process, link, namespace, mount
// and file. What is gone already is no error, so Down can be repeated.
func (l *Lab) Down(ctx context.Context) error {
	if err := RequireRoot(); err != nil {
		return err
	}
	if _, err := os.Stat(l.dir); !errors.Is(err, fs.ErrNotExist) {
		unlock, err := l.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	return l.remove(ctx)
}

// remove goes on after a failure, so that as little as possible is left.
func (l *Lab) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	err := errors.Join(l.killAll(ctx), l.removeUnderlay(), l.unmountAll(), removeCgroups(ctx, labCgroup(l.dir)))
	if err != nil {
		return fmt.Errorf("remove lab %s: %w", l.Name, err)
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("remove lab %s: %w", l.Name, err)
	}
	if filepath.Dir(l.dir) == DefaultState {
		// The last lab takes along what the first one made; what others keep
		// there stays, and the directories with it.
		_ = os.Remove(DefaultState)
		_ = os.Remove(filepath.Dir(DefaultState))
	}
	return nil
}

// killAll cuts the power of every host, listed or not.
func (l *Lab) killAll(ctx context.Context) error {
	pids, err := findInits(l.dir)
	if err != nil {
		return err
	}
	var all errgroup.Group
	for _, pid := range pids {
		all.Go(func() error {
			dir := initDir(pid)
			p, on, err := find(Host{Name: filepath.Base(dir), dir: dir})
			if err != nil || dir == "" || !on {
				return err
			}
			defer p.close()
			return p.kill(ctx)
		})
	}
	return all.Wait() //nolint:wrapcheck // kill names the process
}

// unmountAll removes what is mounted below the lab's directory in this mount
// namespace, innermost first.
func (l *Lab) unmountAll() error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(l.dir))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range slices.Backward(mounts) {
		if e := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); e != nil && !errors.Is(e, unix.EINVAL) {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", m.Mountpoint, e))
		}
	}
	return err
}
