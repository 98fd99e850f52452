package dockerapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	timetypes "github.com/docker/docker/api/types/time"

	"weft/engine/fault"
	"weft/engine/model"
)

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
	all, err := s.cfg.Images.Images(r.Context())
	if err != nil {
		return err
	}
	wanted, err := newImageFilter(f, all)
	if err != nil {
		return err
	}
	used, err := s.imageUsers(r)
	if err != nil {
		return err
	}
	items := []image.Summary{}
	for _, img := range all {
		if names, ok := wanted.match(img); ok {
			items = append(items, imageSummary(r, img, names, used[img.ID]))
		}
	}
	return WriteJSON(w, http.StatusOK, items)
}

func imageSummary(r *request, img model.Image, names []string, containers int) image.Summary {
	sum := image.Summary{
		ID: img.ID, RepoTags: nonNilList(names), RepoDigests: nonNilList(img.Digests), Size: img.Size,
		Labels: img.Config.Labels, Containers: -1, SharedSize: -1,
	}
	if !img.Created.IsZero() {
		sum.Created = img.Created.Unix()
	}
	if r.flag("shared-size") {
		sum.Containers = int64(containers)
	}
	if r.before("1.44") {
		sum.VirtualSize = sum.Size //nolint:staticcheck // what older clients read
	}
	if r.before("1.43") && len(sum.RepoTags) == 0 && len(sum.RepoDigests) == 0 {
		sum.RepoTags, sum.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}
	return sum
}

// imageUsers counts the containers of each image, by its ID.
func (s *Server) imageUsers(r *request) (map[string]int, error) {
	all, err := s.cfg.Containers.Containers(r.Context())
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, c := range all {
		out[c.ImageID]++
	}
	return out, nil
}

// imageFilter is the filters of `docker image ls` and `prune`.
type imageFilter struct {
	args          filters.Args
	dangling      *bool
	before, since time.Time // zero: no bound
}

func newImageFilter(args filters.Args, all []model.Image) (imageFilter, error) {
	f := imageFilter{args: args}
	if args.Contains("dangling") {
		only, err := args.GetBoolOrDefault("dangling", false)
		if err != nil {
			return f, err
		}
		f.dangling = &only
	}
	for _, bound := range []struct {
		key string
		to  *time.Time
	}{{"before", &f.before}, {"since", &f.since}} {
		for _, ref := range args.Get(bound.key) {
			i := slices.IndexFunc(all, func(img model.Image) bool { return imageIs(img, ref) })
			if i < 0 {
				return f, noSuchImage(ref)
			}
			*bound.to = all[i].Created
		}
	}
	for _, v := range args.Get("until") {
		at, err := timetypes.GetTimestamp(v, time.Now()) //nolint:forbidigo // durations are counted from the moment of asking
		if err != nil {
			return f, fault.Invalid("invalid filter 'until=%s': %w", v, err)
		}
		seconds, nanos, err := timetypes.ParseTimestamps(at, 0)
		if err != nil {
			return f, fault.Invalid("invalid filter 'until=%s': %w", v, err)
		}
		f.before = time.Unix(seconds, nanos)
	}
	return f, nil
}

// match reports whether an image passes, and under which of its names.
func (f imageFilter) match(img model.Image) (names []string, ok bool) {
	names = img.Names
	switch {
	case f.dangling != nil && *f.dangling != (len(names) == 0),
		!f.before.IsZero() && !img.Created.Before(f.before),
		!f.since.IsZero() && !img.Created.After(f.since),
		!f.args.MatchKVList("label", img.Config.Labels),
		f.args.Contains("label!") && f.args.MatchKVList("label!", img.Config.Labels):
		return nil, false
	}
	patterns := f.args.Get("reference")
	if len(patterns) == 0 {
		return names, true
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		named, err := reference.ParseNormalizedNamed(name)
		return err != nil || !slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := reference.FamiliarMatch(p, named)
			return err == nil && ok
		})
	})
	return names, len(names) > 0
}

// imageIs reports whether ref means the image: by a name, or by its ID, whole
// or the beginning of it.
func imageIs(img model.Image, ref string) bool {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		if slices.Contains(img.Names, reference.FamiliarString(reference.TagNameOnly(named))) {
			return true
		}
	}
	ref = strings.TrimPrefix(ref, "sha256:")
	return ref != "" && strings.HasPrefix(strings.TrimPrefix(img.ID, "sha256:"), ref)
}

func noSuchImage(name string) error {
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		name = reference.FamiliarString(reference.TagNameOnly(named))
	}
	return fault.NotFound("No such image: %s", name)
}

func (s *Server) image(w *response, r *request) error {
	img, err := s.cfg.Images.Image(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	base := image.InspectResponse{
		ID: img.ID, RepoTags: nonNilList(img.Names), RepoDigests: nonNilList(img.Digests), Architecture: img.Architecture,
		Variant: img.Variant, Os: img.OS, Author: img.Author, Size: img.Size, RootFS: image.RootFS{Type: "layers", Layers: img.Layers},
	}
	if len(img.History) > 0 {
		base.Comment = img.History[len(img.History)-1].Comment
	}
	if !img.Created.IsZero() {
		base.Created = img.Created.Format(time.RFC3339Nano)
	}
	if r.before("1.44") {
		base.VirtualSize = img.Size //nolint:staticcheck // what older clients read
	}
	b, err := json.Marshal(base)
	if err != nil {
		return err
	}
	var merged map[string]any
	if err := json.Unmarshal(b, &merged); err != nil {
		return err
	}
	merged["Config"] = imageConfig(r, img) // whose form depends on the version
	return WriteJSON(w, http.StatusOK, merged)
}

// imageConfig is what a container gets from an image.
func imageConfig(r *request, img model.Image) map[string]any {
	c := img.Config
	config := map[string]any{
		"Cmd": c.Cmd, "Entrypoint": c.Entrypoint, "Env": c.Env, "WorkingDir": c.WorkingDir,
		"Labels": c.Labels, "OnBuild": c.OnBuild, "User": c.User, "Volumes": c.Volumes,
	}
	for key, v := range map[string]any{"ExposedPorts": c.ExposedPorts, "Healthcheck": c.Healthcheck, "Shell": c.Shell, "StopSignal": c.StopSignal} {
		config[key] = v
	}
	if len(c.ExposedPorts) == 0 {
		delete(config, "ExposedPorts")
	}
	if c.Healthcheck == nil {
		delete(config, "Healthcheck")
	}
	if len(c.Shell) == 0 {
		delete(config, "Shell")
	}
	if c.StopSignal == "" {
		delete(config, "StopSignal")
	}
	if r.before("1.50") { // fields an image never had, sent until then
		for _, k := range []string{"AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"} {
			config[k] = false
		}
		config["Domainname"], config["Hostname"], config["Image"] = "", "", ""
	}
	return config
}

func (s *Server) imageHistory(w *response, r *request) error {
	img, err := s.cfg.Images.Image(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	items := []image.HistoryResponseItem{}
	for i, h := range slices.Backward(img.History) {
		item := image.HistoryResponseItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if i == len(img.History)-1 {
			item.ID, item.Tags, item.Size = img.ID, img.Names, img.Size
		}
		items = append(items, item)
	}
	return WriteJSON(w, http.StatusOK, items)
}

func (s *Server) imageTag(w *response, r *request) error {
	name, err := repositoryTag(r)
	if err != nil {
		return err
	}
	if name == "" {
		return fault.Invalid("invalid reference format")
	}
	return done(w, http.StatusCreated, s.cfg.Images.TagImage(r.Context(), r.vars["name"], name))
}

// repositoryTag reads a new image's name from the parameters repo and tag.
func repositoryTag(r *request) (string, error) {
	repo, tag := r.query.Get("repo"), r.query.Get("tag")
	if repo == "" {
		return "", nil
	}
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return "", fault.Invalid("%w", err)
	}
	if tag == "" {
		return named.String(), nil
	}
	tagged, err := reference.WithTag(reference.TrimNamed(named), tag)
	if err != nil {
		return "", fault.Invalid("%w", err)
	}
	return tagged.String(), nil
}

func (s *Server) imageRemove(w *response, r *request) error {
	gone, err := s.cfg.Images.RemoveImage(r.Context(), r.vars["name"], r.flag("force"))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, deletions(gone))
}

func deletions(gone []model.ImageRemoval) []image.DeleteResponse {
	out := make([]image.DeleteResponse, len(gone))
	for i, g := range gone {
		out[i] = image.DeleteResponse{Untagged: g.Untagged, Deleted: g.Deleted}
	}
	return out
}

func (s *Server) imagesPrune(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	if err := f.Validate(map[string]bool{"dangling": true, "label": true, "label!": true, "until": true}); err != nil {
		return err
	}
	dangling, err := f.GetBoolOrDefault("dangling", true)
	if err != nil {
		return err
	}
	f.Del("dangling", "true")
	all, err := s.cfg.Images.Images(r.Context())
	if err != nil {
		return err
	}
	for _, v := range f.Get("dangling") {
		f.Del("dangling", v)
	}
	wanted, err := newImageFilter(f, all)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, img := range all {
		if _, ok := wanted.match(img); ok {
			ids[img.ID] = true
		}
	}
	gone, freed, err := s.cfg.Images.PruneImages(r.Context(), !dangling, func(id string) bool { return ids[id] })
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, image.PruneReport{ImagesDeleted: deletions(gone), SpaceReclaimed: uint64(max(freed, 0))})
}
