package volume_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"weft/engine/model"
	"weft/engine/volume"
)

// table keeps records over the stores of a test.
type table struct {
	mu   sync.Mutex
	rows map[string]model.Volume
}

func (t *table) Put(name string, v model.Volume) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[name] = v
	return nil
}

func (t *table) Delete(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, name)
	return nil
}

func (t *table) List() (map[string]model.Volume, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.rows), nil
}

type bed struct {
	t      *testing.T
	dir    string
	rows   *table
	events []string
	*volume.Store
}

func newBed(t *testing.T) *bed {
	b := &bed{t: t, dir: filepath.Join(t.TempDir(), "volumes"), rows: &table{rows: map[string]model.Volume{}}}
	b.open()
	return b
}

// open is the engine's start, or its start after a crash.
func (b *bed) open() {
	b.t.Helper()
	s, err := volume.Open(volume.Config{
		Dir: b.dir, Table: b.rows, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Publish: func(e model.Event) { b.events = append(b.events, e.Action+" "+e.ActorID) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Store = s
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func mounts(names ...string) []model.Mount {
	out := make([]model.Mount, 0, len(names))
	for _, n := range names {
		name, anonymous := strings.CutPrefix(n, "~")
		out = append(out, model.Mount{Kind: model.MountVolume, Name: name, Target: "/" + name, Anonymous: anonymous})
	}
	return out
}

// has gives the volumes in the table, which are those on disk.
func (b *bed) has() string {
	b.t.Helper()
	entries, err := os.ReadDir(b.dir)
	b.must(err)
	var disk []string
	for _, e := range entries {
		disk = append(disk, e.Name())
	}
	if rows := slices.Sorted(maps.Keys(b.rows.rows)); !slices.Equal(rows, disk) {
		b.t.Errorf("records of %v, directories of %v", rows, disk)
	}
	return strings.Join(disk, " ")
}

func TestCreateRefuses(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct {
		req  model.VolumeRequest
		is   func(error) bool
		want string
	}{
		{model.VolumeRequest{Name: "a"}, errdefs.IsInvalidArgument, "create a: volume name is too short, names should be at least two alphanumeric characters"},
		{model.VolumeRequest{Name: "../x"}, errdefs.IsInvalidArgument, `create ../x: "../x" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`},
		{model.VolumeRequest{Name: strings.Repeat("x", 256)}, errdefs.IsInvalidArgument, "volume name is too long"},
		{model.VolumeRequest{Name: "vol", Driver: "x"}, errdefs.IsNotFound, `create vol: error looking up volume plugin x: plugin "x" not found`},
		{model.VolumeRequest{Name: "vol", Options: map[string]string{"x": "y"}}, errdefs.IsInvalidArgument, `create vol: invalid option: "x"`},
		{model.VolumeRequest{Name: "vol", Options: map[string]string{"size": "1g"}}, errdefs.IsInvalidArgument, "create vol: quota size requested but no quota support"},
		{model.VolumeRequest{Name: "vol", Options: map[string]string{"type": "tmpfs"}}, errdefs.IsInvalidArgument, `create vol: missing required option: "device"`},
		{model.VolumeRequest{Name: "vol", Options: map[string]string{"type": "nfs", "device": ":/x", "o": "addr=1.2.3.4"}}, errdefs.IsNotImplemented, "create vol: this engine mounts no file systems of other machines (type=nfs)"},
	} {
		_, err := b.Create(t.Context(), c.req)
		if err == nil || !c.is(err) || !strings.HasPrefix(err.Error(), strings.TrimSuffix(c.want, "…")) && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.req, err, c.want)
		}
	}
	if got := b.has(); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestLife(t *testing.T) {
	b := newBed(t)
	v, err := b.Create(t.Context(), model.VolumeRequest{Name: "data", Labels: map[string]string{"a": "b"}})
	b.must(err)
	if st, err := os.Stat(v.Path); err != nil || st.Mode().Perm() != 0o755 {
		t.Fatalf("%v %v", st, err)
	}
	b.must(os.WriteFile(filepath.Join(v.Path, "file"), []byte("kept"), 0o600))
	again, err := b.Create(t.Context(), model.VolumeRequest{Name: "data", Labels: map[string]string{"other": ""}})
	if err != nil || again.Labels["a"] != "b" || !again.Created.Equal(v.Created) {
		t.Errorf("made again: %v %v", again, err)
	}
	unnamed, err := b.Create(t.Context(), model.VolumeRequest{})
	b.must(err)
	if _, ok := unnamed.Labels[model.AnonymousVolume]; !ok || len(unnamed.Name) != 64 {
		t.Errorf("unnamed: %v", unnamed)
	}
	b.must(b.Take(t.Context(), "ctr", mounts("data", "~anon", "named")))
	b.open()
	b.must(b.Restore([]model.Container{{ID: "ctr", Spec: model.ContainerSpec{Process: model.ProcessSpec{Mounts: mounts("data", "~anon", "named")}}}}))
	if err := b.Remove(t.Context(), "data", true); !errdefs.IsConflict(err) || err.Error() != "remove data: volume is in use - [ctr]" {
		t.Errorf("removed in use: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(v.Path, "file")); err != nil || string(got) != "kept" {
		t.Errorf("%q %v", got, err)
	}
	names, freed, err := b.Prune(t.Context(), func(model.Volume) bool { return true })
	if err != nil || !slices.Equal(names, []string{unnamed.Name}) || freed < 0 {
		t.Errorf("pruned %v, %d, %v", names, freed, err)
	}
	b.must(b.Drop(t.Context(), "ctr", mounts("data", "~anon", "named"), true))
	if got := b.has(); got != "data named" {
		t.Errorf("after the container: %s", got)
	}
	b.must(b.Remove(t.Context(), "data", false))
	if err := b.Remove(t.Context(), "data", false); !errdefs.IsNotFound(err) || err.Error() != "get data: no such volume" {
		t.Error(err)
	}
	b.must(b.Remove(t.Context(), "data", true))
	if got := b.has(); got != "named" {
		t.Error(got)
	}
	if want := "destroy data"; !slices.Contains(b.events, want) {
		t.Errorf("%v", b.events)
	}
}

// TestAnonymousOfTwo keeps a volume somebody else has as well.
func TestAnonymousOfTwo(t *testing.T) {
	b := newBed(t)
	for _, id := range []string{"one", "two"} {
		b.must(b.Take(t.Context(), id, mounts("~anon")))
	}
	b.must(b.Drop(t.Context(), "one", mounts("~anon"), true))
	if got := b.has(); got != "anon" {
		t.Errorf("after the first: %q", got)
	}
	b.must(b.Drop(t.Context(), "two", mounts("~anon"), true))
	if got := b.has(); got != "" {
		t.Errorf("after the second: %q", got)
	}
}

// TestCrash finds what each moment of a crash leaves.
func TestCrash(t *testing.T) {
	b := newBed(t)
	b.rows.rows["recorded"] = model.Volume{Name: "recorded"}             // before its directory
	b.must(os.MkdirAll(filepath.Join(b.dir, "removed", "_data"), 0o755)) // after its record
	b.must(b.Take(t.Context(), "ctr", mounts("half")))
	b.must(os.MkdirAll(filepath.Join(b.dir, "half", "_fill", "bin"), 0o755))
	b.open()
	if got := b.has(); got != "half recorded" {
		t.Errorf("%s", got)
	}
	if entries, err := os.ReadDir(filepath.Join(b.dir, "half")); err != nil || len(entries) != 1 {
		t.Errorf("half a copy: %v %v", entries, err)
	}
}

func TestFill(t *testing.T) {
	b := newBed(t)
	src := t.TempDir()
	b.must(os.WriteFile(filepath.Join(src, "file"), []byte("text"), 0o640))
	b.must(os.Symlink("/etc/passwd", filepath.Join(src, "link")))
	b.must(os.Chown(filepath.Join(src, "file"), 12, 34))
	b.must(os.Chmod(src, 0o751))
	b.must(os.Chown(src, 56, 78))
	b.must(b.Take(t.Context(), "ctr", mounts("vol", "full")))
	b.must(b.Fill(t.Context(), "ctr", mounts("vol")[0], src))
	for name, want := range map[string]string{"": "drwxr-x--x 56 78", "file": "-rw-r----- 12 34", "link": "Lrwxrwxrwx 0 0"} {
		var st unix.Stat_t
		path := filepath.Join(b.Path("vol"), name)
		b.must(unix.Lstat(path, &st))
		info, err := os.Lstat(path)
		b.must(err)
		if got := fmt.Sprintf("%v %d %d", info.Mode(), st.Uid, st.Gid); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	b.must(os.WriteFile(filepath.Join(b.Path("full"), "own"), nil, 0o600))
	b.must(b.Fill(t.Context(), "ctr", mounts("full")[0], src))
	if entries, _ := os.ReadDir(b.Path("full")); len(entries) != 1 {
		t.Errorf("a volume with content was filled: %v", entries)
	}
	b.must(b.Fill(t.Context(), "ctr", mounts("vol")[0], filepath.Join(src, "nothing")))
	if err := b.Fill(t.Context(), "ctr", mounts("vol")[0], filepath.Join(src, "file")); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a file in the place of a volume: %v", err)
	}
}

// TestOptions mounts what a volume's options say while somebody runs with it,
// and takes away what a crash left.
func TestOptions(t *testing.T) {
	b := newBed(t)
	device := t.TempDir()
	b.must(os.WriteFile(filepath.Join(device, "file"), nil, 0o600))
	for name, options := range map[string]map[string]string{
		"bound":  {"type": "none", "o": "bind,ro", "device": device},
		"memory": {"type": "tmpfs", "o": "size=1m,mode=700", "device": "tmpfs"},
		"broken": {"type": "ext4", "device": "/nowhere"},
	} {
		_, err := b.Create(t.Context(), model.VolumeRequest{Name: name, Options: options})
		b.must(err)
	}
	count := func() int {
		list, err := mountinfo.GetMounts(mountinfo.PrefixFilter(b.dir))
		b.must(err)
		return len(list)
	}
	two := mounts("bound", "memory")
	b.must(b.Take(t.Context(), "one", two))
	b.must(b.Take(t.Context(), "two", two))
	b.must(b.Mount(t.Context(), "one", two))
	b.must(b.Mount(t.Context(), "two", two))
	if got := count(); got != 2 {
		t.Errorf("%d mounts", got)
	}
	if err := os.WriteFile(filepath.Join(b.Path("bound"), "new"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write to a read-only volume: %v", err)
	}
	b.must(os.WriteFile(filepath.Join(b.Path("memory"), "new"), nil, 0o600))
	b.must(b.Unmount(t.Context(), "one", two))
	if _, err := os.Stat(filepath.Join(b.Path("memory"), "new")); err != nil {
		t.Errorf("gone with the first of two: %v", err)
	}
	b.open()
	b.must(b.Restore([]model.Container{{ID: "two", State: model.StateRunning, Spec: model.ContainerSpec{Process: model.ProcessSpec{Mounts: two}}}}))
	if got := count(); got != 2 {
		t.Errorf("%d mounts after a crash, with a container that runs", got)
	}
	b.open()
	b.must(b.Restore(nil))
	if got := count(); got != 0 {
		t.Errorf("%d mounts left", got)
	}
	err := b.Mount(t.Context(), "one", mounts("memory", "broken"))
	if err == nil || !strings.Contains(err.Error(), "failed to mount local volume: mount /nowhere:") || count() != 0 {
		t.Errorf("%v, %d mounts", err, count())
	}
	b.must(b.Fill(t.Context(), "one", mounts("bound")[0], t.TempDir()))
	b.must(b.Remove(t.Context(), "bound", false))
	if _, err := os.Stat(filepath.Join(device, "file")); err != nil {
		t.Errorf("the removal reached into the device: %v", err)
	}
}
