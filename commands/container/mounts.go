package container

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/pflag"
)

// mountFlags are those that say what file systems the container has.
type mountFlags struct {
	volumes      opts.ListOpts
	mounts       opts.MountOpt
	tmpfs        opts.ListOpts
	volumesFrom  opts.ListOpts
	volumeDriver string
	storage      opts.ListOpts
	readOnly     bool
	shmSize      opts.MemBytes
}

func newMountFlags() mountFlags {
	return mountFlags{
		volumes:     opts.NewListOpts(nil),
		tmpfs:       opts.NewListOpts(nil),
		volumesFrom: opts.NewListOpts(nil),
		storage:     opts.NewListOpts(nil),
	}
}

func (f *mountFlags) bind(set *pflag.FlagSet) {
	set.VarP(&f.volumes, "volume", "v", "Bind mount a volume")
	set.Var(&f.mounts, "mount", "Attach a filesystem mount to the container")
	set.Var(&f.tmpfs, "tmpfs", "Mount a tmpfs directory")
	set.Var(&f.volumesFrom, "volumes-from", "Mount volumes from the specified container(s)")
	set.StringVar(&f.volumeDriver, "volume-driver", "", "Optional volume driver for the container")
	set.Var(&f.storage, "storage-opt", "Storage driver options for the container")
	set.BoolVar(&f.readOnly, "read-only", false, "Mount the container's root filesystem as read only")
	set.Var(&f.shmSize, "shm-size", "Size of /dev/shm")
}

// apply adds the file systems to a container.
func (f *mountFlags) apply(c *container.Config, h *container.HostConfig) error {
	anonymous, binds, err := splitVolumes(f.volumes.GetSlice())
	if err != nil {
		return err
	}
	h.StorageOpt = make(map[string]string, f.storage.Len())
	for _, option := range f.storage.GetSlice() {
		key, value, ok := strings.Cut(option, "=")
		if !ok {
			return errors.New("invalid storage option")
		}
		h.StorageOpt[key] = value
	}
	h.Tmpfs = make(map[string]string, f.tmpfs.Len())
	for _, t := range f.tmpfs.GetSlice() { // the daemon judges the options
		path, options, _ := strings.Cut(t, ":")
		h.Tmpfs[path] = options
	}
	c.Volumes = anonymous
	h.Binds = binds
	h.Mounts = f.mounts.Value()
	h.VolumesFrom = f.volumesFrom.GetSlice()
	h.VolumeDriver = f.volumeDriver
	h.ReadonlyRootfs = f.readOnly
	h.ShmSize = f.shmSize.Value()
	return nil
}

// splitVolumes tells the paths of anonymous volumes from SOURCE:TARGET[:OPTIONS],
// in which a path relative to the working directory becomes absolute.
func splitVolumes(specs []string) (anonymous map[string]struct{}, binds []string, err error) {
	anonymous = map[string]struct{}{}
	seen := make(map[string]bool, len(specs))
	for _, spec := range specs {
		if seen[spec] {
			continue
		}
		seen[spec] = true
		source, err := volumeSource(spec)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case source == "":
			anonymous[spec] = struct{}{}
		case isHostPath(source):
			binds = append(binds, absoluteSource(spec))
		default:
			binds = append(binds, spec)
		}
	}
	return anonymous, binds, nil
}

// volumeSource gives what stands before the first colon, empty for an
// anonymous volume. The colon behind the letter of a Windows drive separates
// nothing, also where there are no drives, as in docker.
func volumeSource(spec string) (string, error) {
	switch len(spec) {
	case 0:
		return "", errors.New("invalid empty volume spec")
	case 1, 2:
		return "", nil
	}
	parts := volumeParts(spec)
	for i, part := range parts {
		switch {
		case part == "":
			return "", fmt.Errorf("invalid spec: %s: empty section between colons", spec)
		case i == 2 && len(parts) > 3:
			return "", fmt.Errorf("invalid spec: %s: too many colons", spec)
		}
	}
	if len(parts) == 1 {
		return "", nil
	}
	return parts[0], nil
}

func volumeParts(spec string) []string {
	var parts []string
	start := 0
	for i, char := range spec {
		if char == ':' && !isDrive(spec[start:i]) {
			parts = append(parts, spec[start:i])
			start = i + 1
		}
	}
	return append(parts, spec[start:])
}

func isDrive(part string) bool {
	letters := []rune(part)
	return len(letters) == 1 && unicode.IsLetter(letters[0])
}

// isHostPath tells a path on the daemon's host from the name of a volume.
func isHostPath(source string) bool {
	if strings.ContainsAny(source[:1], "./~") || strings.HasPrefix(source, `\\`) {
		return true
	}
	letters := []rune(source)
	return len(letters) > 1 && letters[1] == ':' && unicode.IsLetter(letters[0])
}

func absoluteSource(spec string) string {
	source, rest, _ := strings.Cut(spec, ":")
	if strings.HasPrefix(source, ".") {
		if path, err := filepath.Abs(source); err == nil { // else the daemon says what it thinks of it
			source = path
		}
	}
	return source + ":" + rest
}
