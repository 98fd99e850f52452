package runtime

import (
	"strings"

	"weft/engine/fault"
)

// Image is what a container runs when its specification does not say.
type Image struct {
	Name       string // with its tag
	ID         string // as Docker writes image IDs
	Entrypoint []string
	Cmd        []string
	Env        []string
	Dir        string
}

// The built-in image. Its ID is the SHA-256 of its name: it has no layers.
const (
	probeImage = "weft/probe"
	probeID    = "sha256:f825862c75cb7585c548e36463cb354c52d385fee170022426ae972c11b5785b"
	probePath  = "/probe"
	tagLatest  = "latest"
	envPath    = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// ResolveImage finds an image by a reference in any of Docker's forms. An
// image that is not built in fails as NotFound, in Docker's words.
func (r *Runtime) ResolveImage(name string) (Image, error) {
	short := name
	for _, registry := range []string{"docker.io/", "index.docker.io/"} {
		short = strings.TrimPrefix(short, registry)
	}
	short, _, pinned := strings.Cut(short, "@")
	repo, tag, tagged := strings.Cut(short, ":")
	if !tagged {
		tag = tagLatest
	}
	if !tagged && !pinned {
		name += ":" + tagLatest // Docker names it in full
	}
	if repo != probeImage || tag != tagLatest || pinned {
		return Image{}, fault.NotFound("No such image: %s", name)
	}
	return Image{
		Name:       probeImage + ":" + tagLatest,
		ID:         probeID,
		Entrypoint: []string{probePath},
		Cmd:        []string{"serve"},
		Env:        []string{envPath},
		Dir:        "/",
	}, nil
}
