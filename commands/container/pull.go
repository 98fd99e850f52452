package container

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"

	"weft/commands/cmdenv"
	"weft/commands/registryauth"
)

// When an image is fetched.
const (
	pullAlways  = "always"
	pullMissing = "missing"
	pullNever   = "never"
)

// Puller fetches images.
type Puller interface {
	ImageCreate(ctx context.Context, reference string, options image.CreateOptions) (io.ReadCloser, error)
}

func checkPull(when string) error {
	switch when {
	case pullAlways, pullMissing, pullNever, "":
		return nil
	}
	return fmt.Errorf("invalid pull option: '%s': must be one of %q, %q or %q", when, pullAlways, pullMissing, pullNever)
}

// pull fetches an image and shows how it goes on the error stream: what is on
// the output is the container's.
//
//nolint:revive // two flags more than the limit, of one call
func pull(ctx context.Context, env *cmdenv.Env, api Puller, ref, platform string, quiet bool) error {
	auth, err := registryauth.Encoded(env.ConfigDir(), ref)
	if err != nil {
		return err
	}
	stream, err := api.ImageCreate(ctx, ref, image.CreateOptions{RegistryAuth: auth, Platform: platform})
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // read to its end, or given up
	out, terminal := env.Err, cmdenv.TerminalOf(env.Err)
	if quiet {
		out, terminal = io.Discard, cmdenv.Terminal{}
	}
	return jsonmessage.DisplayJSONMessagesStream(stream, out, terminal.FD, terminal.IsTTY, nil)
}
