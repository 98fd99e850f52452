package image

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// NewTag gives the `tag` command.
func NewTag(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:         "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:       "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		Args:        cmdenv.ExactArgs(2),
		Annotations: cmdenv.AlsoKnownAs("image tag", "tag"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return api.ImageTag(cmd.Context(), args[0], args[1])
		},
		ValidArgsFunction: names(env, 2),
	}
}
