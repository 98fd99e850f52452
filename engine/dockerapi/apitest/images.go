package apitest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/fault"
	"weft/engine/model"
)

// imageBackend is the engine's images. An archive is its image's name in plain
// text; there is no registry.
type imageBackend struct{ e *Engine }

func newImage(name string) model.Image {
	return model.Image{
		ID: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))), Names: []string{name}, Architecture: "amd64", OS: "linux",
		Config: dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{Entrypoint: []string{"/probe"}, Cmd: []string{"serve"}}},
	}
}

func tagged(ref string) string {
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")
	if !strings.Contains(ref, ":") {
		ref += ":latest"
	}
	return ref
}

func (b imageBackend) Images(context.Context) ([]model.Image, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return slices.Clone(b.e.images), nil
}

func (b imageBackend) indexLocked(ref string) int {
	return slices.IndexFunc(b.e.images, func(i model.Image) bool {
		return slices.Contains(i.Names, tagged(ref)) || strings.HasPrefix(strings.TrimPrefix(i.ID, "sha256:"), strings.TrimPrefix(ref, "sha256:"))
	})
}

func (b imageBackend) Image(_ context.Context, ref string) (model.Image, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if i := b.indexLocked(ref); i >= 0 {
		return b.e.images[i], nil
	}
	return model.Image{}, fault.NotFound("No such image: %s", tagged(ref))
}

func (b imageBackend) LoadImages(_ context.Context, in io.Reader) ([]model.LoadedImage, error) {
	text, err := io.ReadAll(in)
	if err != nil || len(text) == 0 {
		return nil, fault.Invalid("the image archive ends too early")
	}
	img := newImage(string(text))
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	b.e.images = append(b.e.images, img)
	return []model.LoadedImage{{Name: img.Names[0], ID: img.ID}}, nil
}

func (b imageBackend) SaveImages(_ context.Context, out io.Writer, refs []string) error {
	_, err := io.WriteString(out, strings.Join(refs, " "))
	return err
}

func (b imageBackend) ImportImage(_ context.Context, in io.Reader, opts model.ImportOptions) (string, error) {
	if _, err := io.Copy(io.Discard, in); err != nil {
		return "", err
	}
	img := newImage(tagged(opts.Name))
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	b.e.images = append(b.e.images, img)
	return img.ID, nil
}

func (b imageBackend) PullImage(ctx context.Context, ref string, opts model.PullOptions) error {
	if _, err := b.Image(ctx, ref); err != nil {
		return fault.NotFound("pull access denied for %s, repository does not exist or may require 'docker login': denied", ref)
	}
	opts.Report(model.Progress{ID: "0123456789ab", Status: "Downloading", Current: 1, Total: 2})
	opts.Report(model.Progress{Status: "Status: Image is up to date for " + tagged(ref)})
	return nil
}

func (b imageBackend) TagImage(_ context.Context, ref, name string) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	i := b.indexLocked(ref)
	if i < 0 {
		return fault.NotFound("No such image: %s", tagged(ref))
	}
	b.e.images[i].Names = append(slices.Clone(b.e.images[i].Names), tagged(name))
	return nil
}

func (b imageBackend) RemoveImage(_ context.Context, ref string, _ bool) ([]model.ImageRemoval, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	i := b.indexLocked(ref)
	if i < 0 {
		return nil, fault.NotFound("No such image: %s", tagged(ref))
	}
	img := b.e.images[i]
	b.e.images = slices.Delete(b.e.images, i, i+1)
	return []model.ImageRemoval{{Untagged: img.Names[0]}, {Deleted: img.ID}}, nil
}

func (b imageBackend) PruneImages(_ context.Context, all bool, wanted func(string) bool) ([]model.ImageRemoval, int64, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	var out []model.ImageRemoval
	b.e.images = slices.DeleteFunc(b.e.images, func(i model.Image) bool {
		gone := wanted(i.ID) && (all || len(i.Names) == 0)
		if gone {
			out = append(out, model.ImageRemoval{Deleted: i.ID})
		}
		return gone
	})
	return out, 7 * int64(len(out)), nil
}

func (b imageBackend) AskRegistry(_ context.Context, ref string, _ model.Credentials) (ocispec.Descriptor, error) {
	if tagged(ref) == "weft/probe:latest" {
		return ocispec.Descriptor{}, nil
	}
	return ocispec.Descriptor{}, fault.Unavailable("there is no registry")
}
