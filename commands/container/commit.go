package container

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// commitOptions are the flags and arguments of `commit`.
type commitOptions struct {
	container string
	reference string
	pause     bool
	message   string
	author    string
	changes   opts.ListOpts
}

type committer interface {
	ContainerCommit(ctx context.Context, id string, options container.CommitOptions) (container.CommitResponse, error)
}

// NewCommit gives the `commit` command.
func NewCommit(env *cmdenv.Env) *cobra.Command {
	o := &commitOptions{changes: opts.NewListOpts(nil)}
	cmd := &cobra.Command{
		Use:               "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short:             "Create a new image from a container's changes",
		Args:              cmdenv.RangeArgs(1, 2),
		ValidArgsFunction: firstOnly(complete.Containers(env, true, nil)),
		Annotations:       cmdenv.AlsoKnownAs("container commit", "commit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.container = args[0]
			if len(args) > 1 {
				o.reference = args[1]
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runCommit(cmd.Context(), env.Out, api, o)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.BoolVarP(&o.pause, "pause", "p", true, "Pause container during commit")
	flags.StringVarP(&o.message, "message", "m", "", "Commit message")
	flags.StringVarP(&o.author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	flags.VarP(&o.changes, "change", "c", "Apply Dockerfile instruction to the created image")
	return cmd
}

func runCommit(ctx context.Context, out io.Writer, api committer, o *commitOptions) error {
	response, err := api.ContainerCommit(ctx, o.container, container.CommitOptions{
		Reference: o.reference,
		Comment:   o.message,
		Author:    o.author,
		Changes:   o.changes.GetSlice(),
		Pause:     o.pause,
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, response.ID)
	return nil
}
