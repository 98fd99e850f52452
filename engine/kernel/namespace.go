package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Namespace is an open network namespace. It stays usable, and the namespace
// alive, until Close, whatever becomes of its path. It is safe for concurrent
// use; Close is not to be called while it is in use.
type Namespace struct {
	file *os.File
	path string

	mu     sync.Mutex // guards the following
	handle *netlink.Handle
	batch  *batchSocket
}

// Current opens the calling thread's network namespace.
func Current() (*Namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return Open(threadNamespace)
}

// Open opens the namespace at path: a file made by Create, or /proc/<pid>/ns/net.
// It is NotFound when there is no such file or no namespace behind it.
func Open(path string) (*Namespace, error) {
	// Not os.Open, which would hang on a FIFO in the place of the namespace.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		err = &fs.PathError{Op: "open", Path: path, Err: err}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.NotFound("network namespace %s does not exist: %w", path, err)
		}
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		_ = unix.Close(fd)
		return nil, fault.NotFound("%s is not a network namespace", path)
	}
	return &Namespace{file: os.NewFile(uintptr(fd), path), path: path}, nil
}

// Create makes a network namespace, bind-mounts it at path and opens it. The
// directory is made where it is missing. It is a Conflict when path exists.
func Create(path string) (*Namespace, error) {
	if err := makeFile(path); err != nil {
		return nil, err
	}
	var ns *Namespace
	err := elsewhere(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return nil
	}, func() error {
		if err := unix.Mount(threadNamespace, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount a network namespace at %s: %w", path, err)
		}
		var err error
		ns, err = Open(path)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, Remove(path))
	}
	return ns, nil
}

func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil { //nolint:gosec // others may look namespaces up by a name they know
		return fmt.Errorf("make the directory of network namespaces: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444) //nolint:gosec // a mount point, empty for ever
	if errors.Is(err, fs.ErrExist) {
		return fault.Conflict("network namespace %s already exists: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("make the mount point of a network namespace: %w", err)
	}
	return f.Close()
}

// Bind mounts ns at path, which must not exist: the mend for a namespace whose
// file someone removed.
func (ns *Namespace) Bind(path string) error {
	if err := makeFile(path); err != nil {
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d", ns.file.Fd())
	if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
		err = fmt.Errorf("mount a network namespace at %s: %w", path, err)
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Remove unmounts the namespace at path and removes the file. A path without a
// mount, or no path at all, is fine: what a crash left goes as well.
func Remove(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	// EINVAL: not a mount point.
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// List gives the sorted file names in dir, which hold a namespace each unless
// a crash came in between. A missing directory has none.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Path gives the path ns was opened at.
func (ns *Namespace) Path() string { return ns.path }

// Fd gives the descriptor of the namespace, valid until Close, as netlink
// requests that name a namespace want it.
func (ns *Namespace) Fd() int { return int(ns.file.Fd()) }

// Same reports whether both are the same namespace of the kernel.
func (ns *Namespace) Same(other *Namespace) bool {
	a, errA := ns.file.Stat()
	b, errB := other.file.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// Identity tells the namespace from every other one as long as it lives,
// however it was opened: the device and inode of its file.
func (ns *Namespace) Identity() (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(ns.Fd(), &st); err != nil {
		return "", fmt.Errorf("look at network namespace %s: %w", ns.path, err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

// Netlink gives a handle on the routing netlink of ns. It is made once and
// belongs to ns: don't close it.
func (ns *Namespace) Netlink() (*netlink.Handle, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.handle != nil {
		return ns.handle, nil
	}
	err := Do(ns, func() (err error) {
		ns.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink in %s: %w", ns.path, err)
	}
	return ns.handle, nil
}

// Close lets go of the namespace, which lives on as long as a mount, a process
// or another Namespace holds it.
func (ns *Namespace) Close() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.handle != nil {
		ns.handle.Close()
		ns.handle = nil
	}
	if ns.batch != nil {
		ns.batch.close()
		ns.batch = nil
	}
	if err := ns.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("close network namespace: %w", err)
	}
	return nil
}
