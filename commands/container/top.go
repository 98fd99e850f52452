package container

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// topAPI lists a container's processes.
type topAPI interface {
	ContainerTop(ctx context.Context, id string, arguments []string) (container.TopResponse, error)
}

// NewTop gives the `top` command.
func NewTop(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "top CONTAINER [ps OPTIONS]",
		Short:             "Display the running processes of a container",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: firstOnly(complete.Containers(env, false, nil)),
		Annotations:       cmdenv.AlsoKnownAs("container top", "top"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runTop(cmd.Context(), env.Out, api, args[0], args[1:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// firstOnly makes offers for the first argument.
func firstOnly(offers cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offers(cmd, args, prefix)
	}
}

func runTop(ctx context.Context, out io.Writer, api topAPI, id string, arguments []string) error {
	list, err := api.ContainerTop(ctx, id, arguments)
	if err != nil {
		return err
	}
	columns := tabwriter.NewWriter(out, 20, 1, 3, ' ', 0) // docker's widths
	fmt.Fprintln(columns, strings.Join(list.Titles, "\t"))
	for _, process := range list.Processes {
		fmt.Fprintln(columns, strings.Join(process, "\t"))
	}
	return columns.Flush()
}
