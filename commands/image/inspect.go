package image

import (
	"bytes"

	"github.com/docker/docker/client"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

func newInspect(env *cmdenv.Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] IMAGE [IMAGE...]",
		Short: "Display detailed information on one or more images",
		Args:  cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return render.Inspect(env.Out, args, format, func(ref string) (any, []byte, error) {
				var raw bytes.Buffer
				img, err := api.ImageInspect(cmd.Context(), ref, client.ImageInspectWithRawResponse(&raw))
				return img, raw.Bytes(), err
			})
		},
		ValidArgsFunction: names(env, 0),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", render.InspectFormatHelp)
	return cmd
}
