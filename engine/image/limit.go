package image

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// How much a layer may unpack to. Layers people make stay far below: text and
// sparse databases reach 20 times their compressed size.
const (
	maxRatio   = 200     // of the compressed size
	maxSmall   = 1 << 30 // bytes any layer may unpack to, whatever the ratio
	maxEntries = 2_000_000
	maxPath    = 4096 // PATH_MAX of <linux/limits.h>
	keepFree   = 20   // a 20th of the file system stays free
)

// limit watches over the unpacking of one layer.
type limit struct {
	bytes   int64 // allowed
	free    int64 // what the file system has room for
	room    bool  // bytes is free
	read    int64 // of the uncompressed layer
	files   int64 // bytes the files have by their headers
	entries int
}

// newLimit bounds a layer of size bytes that is unpacked below dir.
func newLimit(dir string, size int64) (*limit, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("ask for the room below %s: %w", dir, err)
	}
	free := (int64(fs.Bavail) - int64(fs.Blocks)/keepFree) * fs.Bsize //nolint:gosec // below 2^63 on any file system
	l := &limit{bytes: max(maxSmall, size*maxRatio), free: max(free, 0)}
	if l.free < l.bytes {
		l.bytes, l.room = l.free, true
	}
	return l, nil
}

// exceeded says what a layer of more than the allowed bytes is refused for.
func (l *limit) exceeded() error {
	if l.room {
		return fault.Unavailable("no space left for it: it needs more than the %s that may be used here", units.HumanSize(float64(l.bytes)))
	}
	return fault.Invalid("it unpacks to more than %s, over %d times its size: that is no image but a bomb",
		units.HumanSize(float64(l.bytes)), maxRatio)
}

// reader counts the uncompressed layer as it is read, and ends it with an
// error when it is too long.
func (l *limit) reader(r io.Reader) io.Reader { return &countingReader{l, r} }

type countingReader struct {
	*limit
	r io.Reader
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	if c.read > c.bytes {
		return n, c.exceeded()
	}
	return n, err
}

// filter looks at an entry before it is written. Its name has been cleaned.
func (l *limit) filter(h *tar.Header) (bool, error) {
	l.entries++
	l.files += h.Size // sparse files have more of it than there is to read
	switch {
	case l.entries > maxEntries:
		return false, fault.Invalid("it has more than %d entries: that is no image but a bomb", maxEntries)
	case h.Size < 0 || l.files < 0 || l.files > l.bytes:
		return false, l.exceeded()
	case len(h.Name) > maxPath || len(h.Linkname) > maxPath:
		return false, fault.Invalid("entry %.40q…: its path is longer than %d bytes", h.Name, maxPath)
	case leaves(h.Name):
		return false, fault.Invalid("entry %q: its path leads out of the image", h.Name)
	case strings.ContainsRune(h.Name+h.Linkname, 0):
		return false, fault.Invalid("entry %q: a NUL byte in its path", h.Name)
	}
	return true, checkEntry(h)
}

// checkEntry refuses the kinds of entry an image has no use for but an
// attacker has. A symbolic link may point anywhere: it is followed inside the
// container's root only, and nothing is written through it here.
func checkEntry(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeBlock, tar.TypeChar:
		return fault.Invalid("entry %q is a device: an image must have none, the engine makes those a container needs", h.Name)
	case tar.TypeLink:
		if path.IsAbs(h.Linkname) || leaves(path.Clean(h.Linkname)) {
			return fault.Invalid("entry %q is a hard link to %q, which is not a path inside the image", h.Name, h.Linkname)
		}
	}
	for key := range h.PAXRecords {
		// trusted.overlay.* and user.overlay.* would redirect the overlay.
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok &&
			(strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "user.overlay.")) {
			return fault.Invalid("entry %q has the extended attribute %q, which is the kernel's own", h.Name, name)
		}
	}
	return nil
}

// leaves reports whether a cleaned path leads out of where it begins.
func leaves(name string) bool { return name == ".." || strings.HasPrefix(name, "../") }

// ownersMapped reports whether files can be given to the users images have.
// A user namespace made without newuidmap(1) has a single one.
func ownersMapped() bool {
	if !userns.RunningInUserNS() {
		return true
	}
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	const few = 65536 // IDs an image may use
	mapped := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count int
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err == nil {
			mapped += count
		}
	}
	return mapped >= few
}
