package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/fault"
	"weft/engine/model"
)

// Import makes an image of a single layer of a root file system's tar archive,
// plain or compressed, and gives its ID. Changes are lines of a Dockerfile.
func (s *Store) Import(ctx context.Context, in io.Reader, o model.ImportOptions) (string, error) {
	ctx = s.in(ctx)
	name := ""
	if o.Name != "" {
		named, err := ParseName(o.Name)
		if err != nil {
			return "", err
		}
		if isBuiltin(named.String()) {
			return "", fault.Conflict("the name %s belongs to the image built into the engine", BuiltinName)
		}
		name = named.String()
	}
	config, err := importedConfig(o)
	if err != nil {
		return "", err
	}
	ctx, done, err := s.client.WithLease(ctx)
	if err != nil {
		return "", fault.Internal("import image: %w", err)
	}
	defer s.clean(ctx)
	defer func() { _ = done(context.WithoutCancel(ctx)) }()
	layer, err := s.writeLayer(ctx, in)
	if err != nil {
		return "", err
	}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}}
	img, err := s.writeImage(ctx, config, layer)
	if err != nil {
		return "", err
	}
	img.Name = name
	if name == "" {
		img.Name = danglingName(img.Target.Digest)
	}
	if err := s.unpack(ctx, img); err != nil {
		return "", err
	}
	s.names.Lock()
	defer s.names.Unlock()
	if err := s.put(ctx, img); err != nil {
		return "", err
	}
	return s.idOf(ctx, img)
}

// importedConfig is the configuration of an imported image but its layers.
func importedConfig(o model.ImportOptions) (dockerspec.DockerOCIImage, error) {
	platform := platforms.DefaultSpec()
	if o.Platform != "" {
		var err error
		if platform, err = platforms.Parse(o.Platform); err != nil {
			return dockerspec.DockerOCIImage{}, fault.Invalid("%w", err)
		}
	}
	created := o.Created.UTC()
	config := dockerspec.DockerOCIImage{Image: ocispec.Image{
		Created: &created, Platform: ocispec.Platform{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant},
		History: []ocispec.History{{Created: &created, Comment: o.Message}},
	}}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		return config, fault.Invalid("platform %s: containers of this engine run on linux/%s", o.Platform, runtime.GOARCH)
	}
	return config, applyChanges(&config.Config, o.Changes)
}

// writeLayer stores an archive uncompressed: what is unpacked at once gains
// nothing from being packed before.
func (s *Store) writeLayer(ctx context.Context, in io.Reader) (ocispec.Descriptor, error) {
	fail := func(err error) (ocispec.Descriptor, error) {
		return ocispec.Descriptor{}, fmt.Errorf("import image: %w", err)
	}
	plain, err := compression.DecompressStream(in)
	if err != nil {
		return fail(fault.Invalid("read the archive: %w", err))
	}
	defer func() { _ = plain.Close() }()
	limit, err := newLimit(s.dir, 0)
	if err != nil {
		return fail(err)
	}
	// The archive's compressed size is not known here: room is the limit.
	limit.bytes, limit.room = limit.free, true
	w, err := content.OpenWriter(ctx, s.client.ContentStore(), content.WithRef("import-"+rand.Text()))
	if err != nil {
		return fail(err)
	}
	defer func() { _ = w.Close() }()
	size, err := io.Copy(w, limit.reader(plain))
	if err != nil {
		return fail(badArchive(err))
	}
	if size == 0 {
		return fail(fault.Invalid("the archive is empty"))
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: size, Digest: w.Digest()}
	if err := w.Commit(ctx, size, desc.Digest); err != nil && !errdefs.IsAlreadyExists(err) {
		return fail(err)
	}
	return desc, nil
}

// writeImage stores a configuration and a manifest over one layer.
func (s *Store) writeImage(ctx context.Context, config dockerspec.DockerOCIImage, layer ocispec.Descriptor) (images.Image, error) {
	configDesc, err := s.writeJSON(ctx, ocispec.MediaTypeImageConfig, config, nil)
	if err != nil {
		return images.Image{}, err
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configDesc, Layers: []ocispec.Descriptor{layer},
	}
	desc, err := s.writeJSON(ctx, ocispec.MediaTypeImageManifest, manifest, map[string]string{
		"containerd.io/gc.ref.content.config": configDesc.Digest.String(),
		"containerd.io/gc.ref.content.l.0":    layer.Digest.String(),
	})
	return images.Image{Target: desc}, err
}

func (s *Store) writeJSON(ctx context.Context, mediaType string, v any, labels map[string]string) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fault.Internal("write image: %w", err)
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	err = content.WriteBlob(ctx, s.client.ContentStore(), "write-"+desc.Digest.String(), bytes.NewReader(b), desc, content.WithLabels(labels))
	if err != nil {
		return desc, fmt.Errorf("write image: %w", err)
	}
	return desc, nil
}

// checkPlatform is for a pull's --platform.
func checkPlatform(platform string) error {
	if platform == "" {
		return nil
	}
	p, err := platforms.Parse(platform)
	if err != nil {
		return fault.Invalid("%w", err)
	}
	if !platforms.Default().Match(p) {
		return fault.Invalid("platform %s: this machine runs %s", strings.ToLower(platform), platforms.Format(platforms.DefaultSpec()))
	}
	return nil
}
