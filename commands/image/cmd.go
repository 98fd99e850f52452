// Package image holds `weft image`: the images of whatever engine answers.
// Each verb has a file of its own.
package image

import (
	"context"

	"github.com/docker/docker/api/types/image"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// New makes `weft image` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Manage images",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	list := NewImages(env)
	list.Use, list.Aliases = "ls [OPTIONS] [REPOSITORY[:TAG]]", []string{"list"}
	remove := NewRemove(env)
	remove.Use, remove.Aliases = "rm [OPTIONS] IMAGE [IMAGE...]", []string{"remove"}
	cmd.AddCommand(
		NewHistory(env), NewImport(env), newInspect(env), list, NewLoad(env), newPrune(env), NewPull(env), remove, NewSave(env), NewTag(env),
	)
	return cmd
}

// ShortForms gives the constructors of the commands that also stand at the top
// level.
func ShortForms() []func(*cmdenv.Env) *cobra.Command {
	return []func(*cmdenv.Env) *cobra.Command{NewHistory, NewImages, NewImport, NewLoad, NewPull, NewRemove, NewSave, NewTag}
}

// lister lists images.
type lister interface {
	ImageList(ctx context.Context, options image.ListOptions) ([]image.Summary, error)
}

// names completes the names of images.
func names(env *cmdenv.Env, most int) cobra.CompletionFunc {
	offered := complete.Images(env)
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offered(cmd, args, prefix)
	}
}
