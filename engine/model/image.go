package model

import (
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image of this node.
type Image struct {
	ID      string   // sha256:… of its configuration, as Docker's image IDs are
	Names   []string // repository:tag in Docker's short form; empty: dangling
	Digests []string // repository@sha256:… of what was pulled
	Created time.Time
	Size    int64 // bytes of all layers, unpacked
	// Config is what a container gets when its specification does not say.
	Config       dockerspec.DockerOCIImageConfig
	Architecture string
	Variant      string
	OS           string
	Author       string
	Layers       []string // digests of the uncompressed layers, lowest first
	History      []ocispec.History
	// Builtin is the image that is this engine's own binary and has no layers.
	Builtin bool
}

// LoadedImage is an image that came out of an archive.
type LoadedImage struct {
	Name string // short form; empty when it has none
	ID   string
}

// ImageRemoval is one thing the removal of an image did: Untagged is a name it
// has no longer, Deleted the ID of an image that is gone.
type ImageRemoval struct{ Untagged, Deleted string }

// ImageUser is a container of an image.
type ImageUser struct {
	ID      string
	Running bool
}

// ImportOptions say what becomes of an imported root file system.
type ImportOptions struct {
	Name     string // may be empty: the image is dangling
	Message  string // its history's comment
	Changes  []string
	Platform string // os/arch; empty: this machine's
	Created  time.Time
}

// Credentials open a registry. The zero value is nobody.
type Credentials struct {
	Username, Password string
	IdentityToken      string // instead of a password
}

// Progress is a step of a pull: of a layer when ID is not empty.
type Progress struct {
	ID             string // of a layer, short
	Status         string // Docker's words
	Current, Total int64  // bytes; 0 when they don't apply
}

// PullOptions say how to pull.
type PullOptions struct {
	Credentials Credentials
	Platform    string
	Report      func(Progress) // not nil; called from one goroutine at a time
}
