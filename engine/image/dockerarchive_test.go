package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerArchive is an image as `docker save` wrote it before version 25: a list
// of configurations and layers, without an OCI index. diff is what the
// configuration says of the layer.
func dockerArchive(t *testing.T, layer []byte, diff digest.Digest) (archive []byte, id string) {
	t.Helper()
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Config: ocispec.ImageConfig{Cmd: []string{"x"}},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := digest.FromBytes(config)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		body []byte
	}{
		{sum.Encoded() + ".json", config},
		{"aa/VERSION", []byte("1.0")},
		{"aa/json", []byte("{}")},
		{"aa/layer.tar", layer},
		{"manifest.json", []byte(`[{"Config":"` + sum.Encoded() + `.json","RepoTags":["old:1"],"Layers":["aa/layer.tar"]}]`)},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum.String()
}

func TestLoadOfDockerArchives(t *testing.T) {
	layer := root(t, tar.Header{Name: "motd"})
	archive, id := dockerArchive(t, layer, digest.FromBytes(layer))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"plain": archive, "zipped": zipped.Bytes()} {
		s := open(t, t.TempDir())
		got, err := s.Load(t.Context(), bytes.NewReader(in))
		if err != nil || len(got) != 1 || got[0].ID != id || !slices.Equal(names(t, s), []string{"old:1"}) {
			t.Errorf("%s: %+v %v, want %s", name, got, err, id)
			continue
		}
		if _, err := s.Prepare(t.Context(), "c", "old:1"); err != nil {
			t.Errorf("%s: what was loaded can't be used: %v", name, err)
		}
	}
	foreign, _ := dockerArchive(t, layer, digest.FromString("another layer"))
	for name, in := range map[string][]byte{"cut": archive[:len(archive)/2], "another layer": foreign} {
		s := open(t, t.TempDir())
		if _, err := s.Load(t.Context(), bytes.NewReader(in)); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
		if got := names(t, s); len(got) > 0 {
			t.Errorf("%s: left %v", name, got)
		}
	}
}
