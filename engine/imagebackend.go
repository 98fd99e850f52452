package engine

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/model"
)

// imageBackend answers dockerapi.Images.
type imageBackend struct{ e *Engine }

func (b imageBackend) Images(ctx context.Context) ([]model.Image, error) { return b.e.images.List(ctx) }

func (b imageBackend) Image(ctx context.Context, ref string) (model.Image, error) {
	return b.e.images.Get(ctx, ref)
}

func (b imageBackend) LoadImages(ctx context.Context, in io.Reader) ([]model.LoadedImage, error) {
	loaded, err := b.e.images.Load(ctx, in)
	for _, img := range loaded {
		b.publish("load", img.ID, img.Name)
	}
	return loaded, err
}

func (b imageBackend) SaveImages(ctx context.Context, out io.Writer, refs []string) error {
	return b.e.images.Save(ctx, out, refs)
}

func (b imageBackend) ImportImage(ctx context.Context, in io.Reader, opts model.ImportOptions) (string, error) {
	id, err := b.e.images.Import(ctx, in, opts)
	if err == nil {
		b.publish("import", id, opts.Name)
	}
	return id, err
}

func (b imageBackend) PullImage(ctx context.Context, ref string, opts model.PullOptions) error {
	err := b.e.images.Pull(ctx, ref, opts)
	if err == nil {
		b.publish("pull", ref, ref)
	}
	return err
}

func (b imageBackend) TagImage(ctx context.Context, ref, name string) error {
	id, err := b.e.images.Tag(ctx, ref, name)
	if err == nil {
		b.publish("tag", id, name)
	}
	return err
}

func (b imageBackend) RemoveImage(ctx context.Context, ref string, force bool) ([]model.ImageRemoval, error) {
	users, err := b.users(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := b.e.images.Remove(ctx, ref, force, users)
	b.publishRemovals(gone)
	return gone, err
}

func (b imageBackend) PruneImages(ctx context.Context, all bool, wanted func(id string) bool) ([]model.ImageRemoval, int64, error) {
	users, err := b.users(ctx)
	if err != nil {
		return nil, 0, err
	}
	gone, freed, err := b.e.images.Prune(ctx, all, wanted, users)
	b.publishRemovals(gone)
	return gone, freed, err
}

func (b imageBackend) AskRegistry(ctx context.Context, ref string, cred model.Credentials) (ocispec.Descriptor, error) {
	return b.e.images.Ask(ctx, ref, cred)
}

// users tells which containers an image has.
func (b imageBackend) users(ctx context.Context) (func(id string) []model.ImageUser, error) {
	all, err := b.e.workload.Containers(ctx)
	if err != nil {
		return nil, err
	}
	return func(id string) []model.ImageUser {
		var out []model.ImageUser
		for _, c := range all {
			if c.ImageID == id {
				out = append(out, model.ImageUser{ID: c.ID, Running: c.State == model.StateRunning})
			}
		}
		return out
	}, nil
}

func (b imageBackend) publishRemovals(gone []model.ImageRemoval) {
	for _, g := range gone {
		if g.Deleted != "" {
			b.publish("delete", g.Deleted, g.Deleted)
		} else {
			b.publish("untag", g.Untagged, g.Untagged)
		}
	}
}

func (b imageBackend) publish(action, id, name string) {
	b.e.events.Publish(model.Event{
		Type: "image", Action: action, ActorID: id, Scope: model.ScopeLocal, Attributes: map[string]string{"name": name},
	})
}
