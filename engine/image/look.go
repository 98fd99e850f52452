package image

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/fault"
	"weft/engine/model"
)

// builtin describes the image that is this engine's own binary.
func builtin() model.Image {
	return model.Image{
		ID: builtinID(), Names: []string{BuiltinName}, Architecture: runtime.GOARCH, OS: "linux", Builtin: true,
		Config: dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{
			Entrypoint: []string{BuiltinPath}, Cmd: []string{"serve"}, WorkingDir: "/",
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		}},
	}
}

// isBuiltin reports whether a reference means the built-in image.
func isBuiltin(ref string) bool {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		if _, pinned := named.(reference.Digested); !pinned && reference.FamiliarString(reference.TagNameOnly(named)) == BuiltinName {
			return true
		}
	}
	const least = 4 // digits of an ID that could not be anything else by chance
	ref = strings.TrimPrefix(ref, "sha256:")
	return len(ref) >= least && strings.HasPrefix(strings.TrimPrefix(builtinID(), "sha256:"), ref)
}

// platform matches what containers can run here.
func (s *Store) platform() platforms.MatchComparer { return platforms.Default() }

// List gives all images, newest first; the built-in one, which has no date, is
// the last.
func (s *Store) List(ctx context.Context) ([]model.Image, error) {
	ctx = s.in(ctx)
	entries, err := s.entries(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]model.Image, 0, len(entries)+1)
	for _, e := range entries {
		img, err := s.describe(ctx, e)
		if err != nil { // it is there all the same, and can be removed
			s.log.WarnContext(ctx, "image is damaged", "image", e.id, "err", err)
			img = model.Image{ID: e.id}
			e.name(&img)
		}
		out = append(out, img)
	}
	slices.SortStableFunc(out, func(a, b model.Image) int { return b.Created.Compare(a.Created) })
	return append(out, builtin()), nil
}

// Get gives the image a reference means: a name in any of Docker's forms, an
// ID or the beginning of one. An image that is not here fails as NotFound, in
// Docker's words.
func (s *Store) Get(ctx context.Context, ref string) (model.Image, error) {
	ctx = s.in(ctx)
	e, err := s.find(ctx, ref)
	if err != nil {
		if isBuiltin(ref) {
			return builtin(), nil
		}
		return model.Image{}, err
	}
	return s.describe(ctx, e)
}

// describe reads what an image says of itself.
func (s *Store) describe(ctx context.Context, e entry) (model.Image, error) {
	config, err := s.config(ctx, e.target())
	if err != nil {
		return model.Image{}, err
	}
	img := model.Image{
		ID: e.id, Config: config.Config, Architecture: config.Architecture, Variant: config.Variant, OS: config.OS,
		Author: config.Author, History: config.History,
	}
	if config.Created != nil {
		img.Created = *config.Created
	}
	for _, d := range config.RootFS.DiffIDs {
		img.Layers = append(img.Layers, d.String())
	}
	e.name(&img)
	img.Size = s.size(ctx, config)
	return img, nil
}

// name gives an image the names of its entry.
func (e entry) name(img *model.Image) {
	for _, i := range e.stored {
		name, ok := familiar(i.Name)
		if !ok {
			continue
		}
		if named, err := reference.ParseNormalizedNamed(name); err == nil {
			if _, pinned := named.(reference.Canonical); pinned {
				img.Digests = append(img.Digests, name)
				continue
			}
			if i.Labels[labelPulled] != "" {
				img.Digests = append(img.Digests, reference.FamiliarName(named)+"@"+i.Target.Digest.String())
			}
		}
		img.Names = append(img.Names, name)
	}
	slices.Sort(img.Names)
	slices.Sort(img.Digests)
	img.Digests = slices.Compact(img.Digests)
}

// damaged is what is said of an image that does not get any further.
func damaged(img images.Image, err error) error {
	name, named := familiar(img.Name)
	if !named {
		name = shortID(img.Target.Digest.String())
	}
	// Not wrapped: content that is not found is not an image that is not found.
	return fault.Internal("image %s is damaged on this host's disk: %v: remove it with rmi, then load or pull it again", name, err)
}

// config reads an image's configuration.
func (s *Store) config(ctx context.Context, img images.Image) (dockerspec.DockerOCIImage, error) {
	var config dockerspec.DockerOCIImage
	desc, err := img.Config(ctx, s.client.ContentStore(), s.platform())
	if err != nil {
		return config, damaged(img, err)
	}
	blob, err := content.ReadBlob(ctx, s.client.ContentStore(), desc)
	if err != nil {
		return config, damaged(img, err)
	}
	if got := desc.Digest.Algorithm().FromBytes(blob); got != desc.Digest {
		return config, damaged(img, fmt.Errorf("its configuration %s has the digest %s", desc.Digest, got))
	}
	if err := json.Unmarshal(blob, &config); err != nil {
		return config, fault.Invalid("read the configuration of image %s: %w", img.Name, err)
	}
	return config, nil
}

// size adds up the unpacked layers. Those that are not unpacked count nothing.
func (s *Store) size(ctx context.Context, config dockerspec.DockerOCIImage) int64 {
	var sum int64
	snapshots := s.client.SnapshotService(s.snapshotter)
	for n := range config.RootFS.DiffIDs {
		usage, err := snapshots.Usage(ctx, identity.ChainID(config.RootFS.DiffIDs[:n+1]).String())
		if err != nil {
			break
		}
		sum += usage.Size
	}
	return sum
}

// checkRunnable refuses an image for another kind of machine.
func checkRunnable(config dockerspec.DockerOCIImage, name string) error {
	if config.OS != "" && config.OS != "linux" {
		return fault.Invalid("image %s is for %s: containers of this engine run Linux", name, config.OS)
	}
	if config.Architecture != "" && config.Architecture != runtime.GOARCH {
		return fault.Invalid("image %s is for %s/%s: this machine is linux/%s", name, "linux", config.Architecture, runtime.GOARCH)
	}
	return nil
}

// shortID is how Docker shows an ID.
func shortID(id string) string {
	const digits = 12
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(digits, len(id))]
}
