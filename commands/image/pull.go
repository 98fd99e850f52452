package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/registryauth"
)

// Puller fetches images.
type Puller interface {
	ImageCreate(ctx context.Context, reference string, options image.CreateOptions) (io.ReadCloser, error)
}

type pullOptions struct {
	reference string
	allTags   bool
	platform  string
	quiet     bool
}

// pullAPI is what `pull` asks of the daemon.
type pullAPI interface {
	ImagePull(ctx context.Context, ref string, options image.PullOptions) (io.ReadCloser, error)
}

// NewPull gives the `pull` command.
func NewPull(env *cmdenv.Env) *cobra.Command {
	o := &pullOptions{}
	cmd := &cobra.Command{
		Use:         "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short:       "Download an image from a registry",
		Args:        cmdenv.ExactArgs(1),
		Annotations: cmdenv.AlsoKnownAs("image pull", "pull"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.reference = args[0]
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runPull(cmd.Context(), env, api, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&o.allTags, "all-tags", "a", false, "Download all tagged images in the repository")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Suppress verbose output")
	cmd.Flags().StringVar(&o.platform, "platform", "", "Set platform if server is multi-platform capable")
	return cmd
}

func runPull(ctx context.Context, env *cmdenv.Env, api pullAPI, o *pullOptions) error {
	named, err := reference.ParseNormalizedNamed(o.reference)
	switch {
	case err != nil:
		return err
	case o.allTags && !reference.IsNameOnly(named):
		return errors.New("tag can't be used with --all-tags/-a")
	case !o.allTags && reference.IsNameOnly(named):
		named = reference.TagNameOnly(named)
		if tagged, ok := named.(reference.Tagged); ok && !o.quiet {
			fmt.Fprintf(env.Out, "Using default tag: %s\n", tagged.Tag())
		}
	}
	auth, err := registryauth.Encoded(env.ConfigDir(), named.String())
	if err != nil {
		return err
	}
	stream, err := api.ImagePull(ctx, reference.FamiliarString(named), image.PullOptions{RegistryAuth: auth, Platform: o.platform, All: o.allTags})
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // read to its end, or given up
	if o.quiet {
		err = jsonmessage.DisplayJSONMessagesStream(stream, io.Discard, 0, false, nil)
	} else {
		err = show(env, stream)
	}
	if err == nil {
		fmt.Fprintln(env.Out, named.String())
	}
	return err
}

// Fetch brings an image for a container and shows how it goes on the error
// stream: what is on the output is the container's.
//
//nolint:revive // two flags more than the limit, of one call
func Fetch(ctx context.Context, env *cmdenv.Env, api Puller, ref, platform string, quiet bool) error {
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
