package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/model"
)

// registry serves one image as a registry does (OCI distribution
// specification, sections "Pulling manifests" and "Pulling blobs").
type registry struct {
	*httptest.Server

	mu    sync.Mutex // guards the following
	blobs map[string][]byte
	types map[string]string // media types of manifests by digest
	tags  map[string]string
	user  string                   // "name:password" where one is needed
	spoil func(blob []byte) []byte // what becomes of layers on their way
	asked map[string]int           // how often, by path
}

// newRegistry gives a registry on a loopback address that has what archive, a
// saved image, holds, as repo:latest.
func newRegistry(t *testing.T, archive []byte) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}, types: map[string]string{}, tags: map[string]string{}, asked: map[string]int{}}
	in := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if sum, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok {
			r.blobs["sha256:"+sum] = body
		}
		if h.Name == "index.json" {
			var index ocispec.Index
			if err := json.Unmarshal(body, &index); err != nil {
				t.Fatal(err)
			}
			r.tags["latest"] = index.Manifests[0].Digest.String()
			r.types[r.tags["latest"]] = index.Manifests[0].MediaType
		}
	}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// name gives the reference of what the registry has.
func (r *registry) name(tag string) string {
	return strings.TrimPrefix(r.URL, "http://") + "/repo" + tag
}

// ServeHTTP answers GET and HEAD below /v2/.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[req.Method+" "+req.URL.Path]++
	if name, password, _ := req.BasicAuth(); r.user != "" && name+":"+password != r.user {
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	kind, ref, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/repo/"), "/")
	if tagged, is := r.tags[ref]; is && kind == "manifests" {
		ref = tagged
	}
	blob, found := r.blobs[ref]
	switch {
	case req.URL.Path == "/v2/":
		return
	case !ok || !found:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		return
	case kind == "manifests":
		w.Header().Set("Content-Type", r.types[ref])
	case r.spoil != nil:
		blob = r.spoil(blob)
	}
	w.Header().Set("Docker-Content-Digest", ref)
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(blob))
}

// source gives a saved image and its ID.
func source(t *testing.T) (archive []byte, id string) {
	t.Helper()
	s := open(t, t.TempDir())
	id = s.mustImport(t, "source", root(t, tar.Header{Name: "file"}, tar.Header{Name: "other"}), `CMD ["x"]`)
	var b bytes.Buffer
	if err := s.Save(t.Context(), &b, []string{"source"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), id
}

// pull pulls and gives the statuses told.
func (s *Store) pull(t *testing.T, ref string, cred model.Credentials) (told []string, err error) {
	t.Helper()
	err = s.Pull(t.Context(), ref, model.PullOptions{Credentials: cred, Report: func(p model.Progress) { told = append(told, p.Status) }})
	return told, err
}

func TestPull(t *testing.T) {
	archive, id := source(t)
	r := newRegistry(t, archive)
	s := open(t, t.TempDir())
	told, err := s.pull(t, r.name(""), model.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"latest: Pulling from repo", "Pulling fs layer", "Pull complete", "Status: Downloaded newer image for " + r.name(":latest")} {
		if !slices.Contains(told, want) {
			t.Errorf("told %q, not %q", told, want)
		}
	}
	img, err := s.Get(t.Context(), r.name(""))
	if err != nil || img.ID != id || img.Config.Cmd[0] != "x" {
		t.Errorf("pulled %+v, %v; the source is %s", img, err, id)
	}
	if _, err := s.Prepare(t.Context(), "c", r.name("")); err != nil {
		t.Errorf("what was pulled can't be used: %v", err)
	}
	if told, err := s.pull(t, r.name(":latest"), model.Credentials{}); err != nil || !slices.Contains(told, "Status: Image is up to date for "+r.name(":latest")) {
		t.Errorf("again: %q, %v", told, err)
	}
	if _, err := s.pull(t, r.name("@"+r.tags["latest"]), model.Credentials{}); err != nil {
		t.Errorf("by digest: %v", err)
	}
	if desc, err := s.Ask(t.Context(), r.name(""), model.Credentials{}); err != nil || desc.Digest.String() != r.tags["latest"] {
		t.Errorf("asked: %v, %v", desc, err)
	}
	if _, err := s.pull(t, r.name(":nope"), model.Credentials{}); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "manifest for "+r.name(":nope")+" not found") {
		t.Errorf("a tag that is not there: %v", err)
	}
}

func TestPullWithCredentials(t *testing.T) {
	archive, id := source(t)
	r := newRegistry(t, archive)
	r.user = "me:secret"
	s := open(t, t.TempDir())
	for _, cred := range []model.Credentials{{}, {Username: "me", Password: "wrong"}} {
		_, err := s.pull(t, r.name(""), cred)
		if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "pull access denied for "+r.name("")) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("as %q: %v", cred.Username, err)
		}
	}
	if _, err := s.pull(t, r.name(""), model.Credentials{Username: "me", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	if img, err := s.Get(t.Context(), r.name("")); err != nil || img.ID != id {
		t.Errorf("%+v, %v", img, err)
	}
}

// TestPullOfWhatIsNotThere is about registries that send something else than
// they announced.
func TestPullOfWhatIsNotThere(t *testing.T) {
	archive, id := source(t)
	for name, spoil := range map[string]func([]byte) []byte{
		"other bytes": func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) },
		"too short":   func(b []byte) []byte { return b[:len(b)/2] },
		"too long":    func(b []byte) []byte { return append(slices.Clone(b), "more"...) },
		"nothing":     func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, archive)
			r.spoil = spoil
			s := open(t, t.TempDir())
			if _, err := s.pull(t, r.name(""), model.Credentials{}); err == nil {
				t.Fatal("taken")
			}
			if got := names(t, s); len(got) != 0 {
				t.Errorf("left: %v", got)
			}
			r.mu.Lock()
			r.spoil = nil
			r.mu.Unlock()
			if _, err := s.pull(t, r.name(""), model.Credentials{}); err != nil {
				t.Fatalf("after it was mended: %v", err)
			}
			if img, err := s.Get(t.Context(), r.name("")); err != nil || img.ID != id {
				t.Errorf("%+v, %v", img, err)
			}
		})
	}
}
