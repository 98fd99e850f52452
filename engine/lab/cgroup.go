package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	cgroupPoll = 10 * time.Millisecond
)

// labCgroup names the cgroup of everything in the lab of that directory.
func labCgroup(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "/weft/lab-" + hex.EncodeToString(sum[:6])
}

// removeCgroups removes a cgroup and all below it from every hierarchy, of
// version 1 or 2, and what is above it and empty. The processes in them are
// dead, which the kernel may notice late.
func removeCgroups(ctx context.Context, name string) error {
	tops, err := filepath.Glob(cgroupRoot + "/*" + name)
	if err != nil {
		return err
	}
	var dirs []string
	for _, top := range append(tops, cgroupRoot+name) {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("look for cgroups: %w", err)
		}
	}
	for _, dir := range slices.Backward(dirs) {
		if err := removeCgroup(ctx, dir); err != nil {
			return err
		}
	}
	for _, top := range append(tops, cgroupRoot+name) {
		_ = os.Remove(filepath.Dir(top)) // another lab's or an engine's, or gone
	}
	return nil
}

// removeCgroup removes one cgroup as soon as nothing is in it.
func removeCgroup(ctx context.Context, dir string) error {
	tick := time.NewTicker(cgroupPoll)
	defer tick.Stop()
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
}
