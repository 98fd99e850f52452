package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"weft/engine/model"
	"weft/engine/store"
)

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func closed(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func endpoint(id string) model.Endpoint {
	return model.Endpoint{
		ID: id, NetworkID: "n1", ContainerID: "c1", Name: "web.1", Addr: netip.MustParsePrefix("10.0.1.5/24"),
		MAC: model.MACFromAddr(netip.MustParseAddr("10.0.1.5")), IfName: "eth0", VIP: netip.MustParseAddr("10.0.1.2"),
		TaskAliases: []string{"abc"},
	}
}

func TestRowsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	container := model.Container{ID: "c1", State: model.StateRunning, Pid: 7, Created: time.Unix(1, 5).UTC(), Endpoints: []model.Endpoint{endpoint("e1")}}
	attachment := model.Attachment{Network: model.Network{ID: "n1", Subnets: []model.Subnet{{
		Prefix: netip.MustParsePrefix("10.0.1.0/24"),
		Aux:    map[string]netip.Addr{"r": netip.MustParseAddr("10.0.1.9")}, VNI: 4097,
	}}}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.1.5/24")}}
	for _, err := range []error{
		s.Containers().Put("c1", container),
		s.Endpoints().Put("e1", endpoint("e1")),
		s.Attachments().Put("c1/n1", attachment),
		s.Save("gossip", []byte("id")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	closed(t, s)

	s = open(t, path)
	c, err := s.Containers().Get("c1")
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Endpoints().Get("e1")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Attachments().Get("c1/n1")
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	sameAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	for _, pair := range [][2]any{{c, container}, {e, endpoint("e1")}, {a, attachment}} {
		if d := cmp.Diff(pair[1], pair[0], same, sameAddr); d != "" {
			t.Errorf("after reopening (-want +got):\n%s", d)
		}
	}
	if v, err := s.Load("gossip"); err != nil || string(v) != "id" {
		t.Errorf("Load = %q, %v", v, err)
	}
}

func TestSettings(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	if v, err := s.Load("absent"); v != nil || err != nil {
		t.Errorf("absent setting: %q, %v", v, err)
	}
	if err := errors.Join(s.Save("k", []byte("v")), s.Save("k", nil), s.Save("never", nil), s.Save("empty", []byte{})); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Load("k"); v != nil || err != nil {
		t.Errorf("forgotten setting: %q, %v", v, err)
	}
	if v, err := s.Load("empty"); v == nil || len(v) != 0 || err != nil {
		t.Errorf("empty setting: %#v, %v", v, err)
	}
}

func TestTable(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	type row struct{ N int }
	tab := store.Bucket[row](s, "counts")

	if rows, err := tab.List(); len(rows) != 0 || err != nil {
		t.Errorf("empty table: %v, %v", rows, err)
	}
	if _, err := tab.Get("a"); !errdefs.IsNotFound(err) {
		t.Errorf("Get of nothing: %v", err)
	}
	if v, err := tab.Update("new", func(r *row) error { r.N++; return nil }); v.N != 1 || err != nil {
		t.Errorf("Update of nothing: %v, %v", v, err)
	}
	if _, err := tab.Update("never", func(*row) error { return errors.New("no") }); err == nil {
		t.Error("refused Update of nothing succeeds")
	}
	if err := tab.Delete("a"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if err := tab.Put("", row{}); err == nil {
		t.Error("Put under an empty key is accepted")
	}
	for _, k := range []string{"b", "a", "c"} {
		if err := tab.Put(k, row{1}); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := tab.Update("a", func(r *row) error { r.N += 4; return nil }); v.N != 5 || err != nil {
		t.Errorf("Update = %v, %v", v, err)
	}
	refused := errors.New("refused")
	if _, err := tab.Update("b", func(r *row) error { r.N = 9; return refused }); !errors.Is(err, refused) {
		t.Errorf("refused Update: %v", err)
	}
	if err := tab.Delete("c"); err != nil {
		t.Fatal(err)
	}
	rows, err := tab.List()
	if d := cmp.Diff([]store.Row[row]{{"a", row{5}}, {"b", row{1}}, {"new", row{1}}}, rows); d != "" || err != nil {
		t.Errorf("List: %v (-want +got):\n%s", err, d)
	}
	if rows, err := s.Containers().List(); len(rows) != 0 || err != nil {
		t.Errorf("another table sees %v, %v", rows, err)
	}
}

func TestSecondEngineIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path)
	_, err := store.Open(path, store.Options{LockTimeout: 20 * time.Millisecond})
	if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), filepath.Dir(path)) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("second Open: %v", err)
	}
}

// filled makes a state file of some size and gives its bytes.
func filled(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	for i := range 60 {
		id := strings.Repeat(string(rune('a'+i%26)), 40) + string(rune('0'+i/26))
		if err := s.Endpoints().Put(id, endpoint(id)); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, s)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBadFilesAreLeftAsTheyAre(t *testing.T) {
	good := filled(t)
	alter := func(fn func(tx *bolt.Tx) error) []byte {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(fn), db.Close()); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	meta := []byte("meta")
	for name, tc := range map[string]struct {
		raw   []byte
		class func(error) bool
		text  string
	}{
		"garbage":      {bytes.Repeat([]byte("weft"), 9000), errdefs.IsInternal, "damaged"},
		"one byte":     {[]byte{1}, errdefs.IsInternal, "damaged"},
		"cut in half":  {good[:len(good)/2], errdefs.IsInternal, "damaged"},
		"only metas":   {good[:2*os.Getpagesize()], errdefs.IsInternal, "damaged"},
		"third page":   {good[:3*os.Getpagesize()], errdefs.IsInternal, "damaged"},
		"newer schema": {alter(func(tx *bolt.Tx) error { return tx.Bucket(meta).Put([]byte("schema"), []byte{0, 0, 0, 2}) }), errdefs.IsNotImplemented, "newer weft (schema 2, this one knows 1)"},
		"schema 0":     {alter(func(tx *bolt.Tx) error { return tx.Bucket(meta).Put([]byte("schema"), make([]byte, 4)) }), errdefs.IsInternal, "schema"},
		"odd schema":   {alter(func(tx *bolt.Tx) error { return tx.Bucket(meta).Put([]byte("schema"), []byte("1")) }), errdefs.IsInternal, "schema"},
		"foreign":      {alter(func(tx *bolt.Tx) error { return tx.DeleteBucket(meta) }), errdefs.IsInternal, "schema"},
		"no settings":  {alter(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("settings")) }), errdefs.IsInternal, "settings"},
		"bad row": {alter(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("tables")).Bucket([]byte("endpoints")).Put([]byte("k"), []byte("{"))
		}), errdefs.IsInternal, "endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, tc.raw, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(path, store.Options{LockTimeout: time.Second})
			if err == nil {
				closed(t, s)
				t.Fatal("opened")
			}
			if !tc.class(err) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("error: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, tc.raw) {
				t.Errorf("the file changed (%v)", err)
			}
		})
	}
}

// TestDamageNeverPanics spoils pages at random: whatever Open says, it returns.
func TestDamageNeverPanics(t *testing.T) {
	good := filled(t)
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 400 {
		raw := bytes.Clone(good)
		at := rng.IntN(len(raw) - 64)
		for i := range 1 + rng.IntN(64) {
			raw[at+i] = byte(rng.Uint32())
		}
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(path, store.Options{LockTimeout: time.Second})
		if err != nil {
			refused++
			continue
		}
		closed(t, s)
	}
	if refused == 0 {
		t.Error("no damage was noticed at all")
	}
}

func TestEmptyFileAndUnstampedDatabaseAreInitialized(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed(t, open(t, path))

	path = filepath.Join(t.TempDir(), "state.db")
	db, err := bolt.Open(path, 0o600, nil) // as an engine killed between creation and first write leaves it
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if err := s.Save("k", []byte("v")); err != nil {
		t.Error(err)
	}
}

func TestPathProblems(t *testing.T) {
	dir := t.TempDir()
	if _, err := store.Open(filepath.Join(dir, "absent", "state.db"), store.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent directory: %v", err)
	}
	if _, err := store.Open(dir, store.Options{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a directory: %v", err)
	}
}
