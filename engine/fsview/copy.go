package fsview

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/go-archive"
	"github.com/moby/go-archive/compression"
	"github.com/moby/sys/symlink"
	"github.com/moby/sys/user"
	"github.com/moby/sys/userns"

	"weft/engine/fault"
)

// Stat describes what is at a path, without following a link there: target is
// where that leads in the end.
func (v View) Stat(path string) (info fs.FileInfo, target string, err error) {
	err = v.Do(func() error {
		info, target, err = look(inside(path))
		return err
	})
	return info, target, err
}

// look is Stat for a thread that is in the container.
func look(path string) (info fs.FileInfo, target string, err error) {
	if info, err = os.Lstat(path); err != nil {
		return nil, "", err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err = symlink.FollowSymlinkInScope(path, "/")
	}
	return info, target, err
}

// inside makes a client's path an absolute one. A slash or dot at its end stays:
// it says that a link there is to be followed.
func inside(path string) string {
	return archive.PreserveTrailingDotOrSeparator(filepath.Join("/", path), path)
}

// Pack writes what is at a path as a tar archive whose names begin with the
// last part of the path. begin is told what is there and gives where to write
// to. Files that go meanwhile are left out.
func (v View) Pack(path string, begin func(info fs.FileInfo, target string) io.Writer) error {
	path = inside(path)
	return v.Do(func() error {
		info, target, err := look(path)
		if err != nil {
			return err
		}
		dir, base := path, "."
		if !info.IsDir() {
			dir, base = filepath.Split(path)
		}
		return pack(dir, archive.TarResourceRebaseOpts(base, filepath.Base(path)), begin(info, target))
	})
}

// PackAll writes everything as a tar archive, to what begin gives.
func (v View) PackAll(begin func() io.Writer) error {
	return v.Do(func() error { return pack("/", &archive.TarOptions{}, begin()) })
}

// pack archives on this thread, which is in the container, and writes outside.
func pack(dir string, opts *archive.TarOptions, w io.Writer) error {
	tb, err := archive.NewTarballer(dir, opts)
	if err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, tb.Reader())
		_ = tb.Reader().Close() // so that the archiving ends
		written <- err
	}()
	tb.Do()
	return <-written
}

// UnpackOptions say how an archive gets into a container.
type UnpackOptions struct {
	KeepKind bool   // a directory does not take the place of a file, nor a file a directory's
	Owner    string // whose everything is to be, as --user has it; empty: the archive says
	// Writable refuses directories that nothing may be written to.
	Writable func(dir string) error
}

// Unpack unpacks a tar archive, which may be compressed, in a directory. Links
// that lead there are followed.
func (v View) Unpack(path string, in io.Reader, o UnpackOptions) error {
	// Out here, as it may run a program.
	plain, err := compression.DecompressStream(in)
	if err != nil {
		return fault.Invalid("read archive: %w", err)
	}
	defer func() { _ = plain.Close() }()
	alone := oneUser()
	return v.Do(func() error {
		dir, err := filepath.EvalSymlinks(filepath.Join("/", path))
		if err != nil {
			return err
		}
		st, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if !st.IsDir() {
			return fault.Invalid("extraction point is not a directory")
		}
		if err := o.Writable(dir); err != nil {
			return err
		}
		opts := &archive.TarOptions{NoOverwriteDirNonDir: o.KeepKind, NoLchown: alone, InUserNS: userns.RunningInUserNS()}
		if o.Owner != "" {
			u, err := user.GetExecUserPath(o.Owner, nil, "/etc/passwd", "/etc/group")
			if err != nil {
				return fault.Invalid("%w", err)
			}
			opts.ChownOpts = &archive.ChownOpts{UID: u.Uid, GID: u.Gid}
		}
		return archive.UntarUncompressed(plain, dir, opts)
	})
}

// oneUser reports whether root is the only user there is, as in a user
// namespace made without newuidmap(1): files can't be given to anybody else.
func oneUser() bool {
	ranges, err := user.ParseIDMapFile("/proc/self/uid_map")
	return err == nil && len(ranges) == 1 && ranges[0].Count == 1
}
