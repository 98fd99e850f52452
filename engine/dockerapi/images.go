package dockerapi

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

	"weft/engine/fault"
)

// Image is the image built into the engine.
type Image struct {
	Name       string // repository:tag
	ID         string // sha256:…
	Entrypoint []string
	Cmd        []string
	Env        []string
	Dir        string
}

// probeImage is weft/probe, whose ID is the digest of its name: it has no
// layers.
func probeImage() Image {
	const name = "weft/probe:latest"
	return Image{
		Name: name, ID: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))),
		Entrypoint: []string{"/probe"}, Cmd: []string{"serve"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Dir: "/",
	}
}

// is reports whether ref means the image: by a name in any of Docker's forms,
// or by its ID, whole or the beginning of it.
func (i Image) is(ref string) bool {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		if _, pinned := named.(reference.Digested); !pinned && reference.FamiliarString(reference.TagNameOnly(named)) == i.Name {
			return true
		}
	}
	id := strings.TrimPrefix(i.ID, "sha256:")
	ref = strings.TrimPrefix(ref, "sha256:")
	return len(ref) > 0 && strings.HasPrefix(id, ref)
}

func (s *Server) images(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	// pkg daemon/images/images.go, acceptedImageFilterTags
	if err := f.Validate(map[string]bool{
		"dangling": true, "label": true, "label!": true, "before": true, "since": true, "reference": true, "until": true,
	}); err != nil {
		return err
	}
	img := s.cfg.Image
	items := []image.Summary{}
	if imageMatches(img, f) {
		items = append(items, image.Summary{
			ID: img.ID, RepoTags: []string{img.Name}, RepoDigests: []string{}, Labels: map[string]string{},
			Containers: -1, SharedSize: -1,
		})
	}
	if r.before("1.44") {
		for i := range items {
			items[i].VirtualSize = items[i].Size //nolint:staticcheck // what older clients read
		}
	}
	return writeJSON(w, http.StatusOK, items)
}

// imageMatches applies the filters of `docker image ls` to an image that is
// tagged, has no labels, no relatives, and no date.
func imageMatches(img Image, f filters.Args) bool {
	dangling, err := f.GetBoolOrDefault("dangling", false)
	if err != nil || dangling || f.Contains("label") || f.Contains("before") || f.Contains("since") {
		return false
	}
	patterns := f.Get("reference")
	for _, p := range patterns {
		named, err := reference.ParseNormalizedNamed(img.Name)
		if err != nil {
			return false
		}
		if ok, err := reference.FamiliarMatch(p, named); err == nil && ok {
			return true
		}
	}
	return len(patterns) == 0
}

func (s *Server) image(w *response, r *request) error {
	img, name := s.cfg.Image, r.vars["name"]
	if !img.is(name) {
		return noSuchImage(name)
	}
	config := map[string]any{
		"Cmd": img.Cmd, "Entrypoint": img.Entrypoint, "Env": img.Env, "WorkingDir": img.Dir,
		"Labels": nil, "OnBuild": nil, "User": "", "Volumes": nil,
	}
	if r.before("1.50") { // fields an image never had, sent until then
		for _, k := range []string{"AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"} {
			config[k] = false
		}
		config["Domainname"], config["Hostname"], config["Image"] = "", "", ""
	}
	base := image.InspectResponse{
		ID: img.ID, RepoTags: []string{img.Name}, RepoDigests: []string{}, Architecture: runtime.GOARCH, Os: "linux",
		RootFS: image.RootFS{Type: "layers"},
	}
	b, err := json.Marshal(base)
	if err != nil {
		return err
	}
	var merged map[string]any
	if err := json.Unmarshal(b, &merged); err != nil {
		return err
	}
	merged["Config"] = config
	return writeJSON(w, http.StatusOK, merged)
}

func noSuchImage(name string) error {
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		name = reference.FamiliarString(reference.TagNameOnly(named))
	}
	return fault.NotFound("No such image: %s", name)
}

// imageCreate is a pull, or an import.
func (s *Server) imageCreate(w *response, r *request) error {
	from := strings.TrimSuffix(r.query.Get("fromImage"), ":")
	if from == "" {
		return fault.Unsupported("%s", noImages)
	}
	if _, err := reference.ParseNormalizedNamed(from); err != nil {
		return fault.Invalid("%w", err)
	}
	if tag := r.query.Get("tag"); strings.Contains(tag, ":") {
		from += "@" + tag
	} else if tag != "" {
		from += ":" + tag
	}
	if !s.cfg.Image.is(from) {
		return fault.Unsupported("cannot pull %s: %s", from, noImages)
	}
	enc := json.NewEncoder(begin(w, "application/json"))
	return enc.Encode(map[string]string{"status": "Status: " + s.cfg.Image.Name + " is built into the engine"})
}

// distribution answers what a client asks to pin a service's image to its
// digest. The built-in image has none, and the client then keeps its name.
func (s *Server) distribution(w *response, r *request) error {
	name := r.vars["name"]
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return fault.Invalid("%w", err)
	}
	if !s.cfg.Image.is(name) {
		return fault.Unavailable("cannot ask a registry for %s: %s", name, noRegistry)
	}
	var d registry.DistributionInspect
	return writeJSON(w, http.StatusOK, struct {
		Descriptor any
		Platforms  any
	}{d.Descriptor, []any{}})
}
