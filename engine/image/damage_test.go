package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/model"
)

// An image whose content a disk has lost is told of and can be removed; the
// others go on, and so do its containers.
func TestDamage(t *testing.T) {
	layer := []byte("content of lost")
	for name, c := range map[string]struct {
		of    func(blob []byte) bool
		spoil func(blob []byte) []byte
		runs  bool
	}{
		"manifest cut":       {func(b []byte) bool { return bytes.Contains(b, []byte(`"layers":`)) }, func(b []byte) []byte { return b[:10] }, false},
		"manifest gone":      {func(b []byte) bool { return bytes.Contains(b, []byte(`"layers":`)) }, func([]byte) []byte { return nil }, false},
		"configuration cut":  {func(b []byte) bool { return bytes.Contains(b, []byte(`"rootfs"`)) }, func(b []byte) []byte { return b[:10] }, false},
		"configuration bent": {func(b []byte) bool { return bytes.Contains(b, []byte(`"rootfs"`)) }, func(b []byte) []byte { return bytes.Replace(b, []byte("linux"), []byte("Linux"), 1) }, false},
		"layer cut":          {func(b []byte) bool { return bytes.Contains(b, layer) }, func(b []byte) []byte { return b[:10] }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			s.mustImport(t, "sound", root(t, tar.Header{Name: "other"}))
			id := s.mustImport(t, "lost", root(t, tar.Header{Name: "lost"}), `CMD ["x"]`)
			var saved bytes.Buffer
			if err := s.Save(t.Context(), &saved, []string{"lost"}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Prepare(t.Context(), "c", "lost"); err != nil {
				t.Fatal(err)
			}
			spoilBlob(t, s, func(b []byte) bool {
				return c.of(b) && (c.runs || bytes.Contains(b, []byte(strings.TrimPrefix(id, "sha256:"))) || bytes.Contains(b, []byte(`["x"]`)))
			}, c.spoil)

			if got := names(t, s); !slices.Equal(got, []string{"lost:latest", "sound:latest"}) {
				t.Errorf("listed: %q", got)
			}
			_, err := s.Prepare(t.Context(), "c2", "lost")
			if c.runs != (err == nil) || (err != nil && (errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "image lost:latest is damaged on this host's disk"))) {
				t.Errorf("used: %v", err)
			}
			if err := s.Save(t.Context(), io.Discard, []string{"lost"}); err == nil {
				t.Error("saved what is damaged")
			}
			if _, err := s.Prepare(t.Context(), "c3", "sound"); err != nil {
				t.Errorf("another image: %v", err)
			}
			if _, err := s.Mounts(t.Context(), "c"); err != nil {
				t.Errorf("its container: %v", err)
			}
			if _, err := s.Remove(t.Context(), "lost", true, func(string) []model.ImageUser { return nil }); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), &saved); err != nil {
				t.Fatalf("loaded again: %v", err)
			}
			if img, err := s.Get(t.Context(), "lost"); err != nil || img.ID != id {
				t.Errorf("loaded again: %+v %v", img, err)
			}
		})
	}
}

// spoilBlob changes the one blob that is meant; nil removes it.
func spoilBlob(t *testing.T, s *Store, meant func([]byte) bool, spoil func([]byte) []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "content/blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, file := range files {
		blob, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !meant(blob) {
			continue
		}
		done++
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if blob = spoil(blob); blob == nil {
			continue
		}
		if err := os.WriteFile(file, blob, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if done != 1 {
		t.Fatalf("%d blobs spoiled", done)
	}
}
