package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type loadOptions struct {
	input string
	quiet bool
}

type loader interface {
	ImageLoad(ctx context.Context, input io.Reader, options ...client.ImageLoadOption) (image.LoadResponse, error)
}

// NewLoad gives the `load` command.
func NewLoad(env *cmdenv.Env) *cobra.Command {
	o := &loadOptions{}
	cmd := &cobra.Command{
		Use:         "load [OPTIONS]",
		Short:       "Load an image from a tar archive or STDIN",
		Args:        cmdenv.NoArgs,
		Annotations: cmdenv.AlsoKnownAs("image load", "load"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runLoad(cmd.Context(), env, api, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&o.input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the load output")
	return cmd
}

func runLoad(ctx context.Context, env *cmdenv.Env, api loader, o *loadOptions) error {
	in, done, err := archiveInput(env, o.input)
	if err != nil {
		return err
	}
	defer done()
	quiet := o.quiet || !cmdenv.TerminalOf(env.Out).IsTTY
	resp, err := api.ImageLoad(ctx, in, client.ImageLoadWithQuiet(quiet))
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	if !resp.JSON {
		_, err := io.Copy(env.Out, resp.Body)
		return err
	}
	return show(env, resp.Body)
}

// archiveInput opens what `load` and `import` read: a file, or else standard
// input, which must not be a terminal.
func archiveInput(env *cmdenv.Env, path string) (io.Reader, func(), error) {
	if path != "" {
		f, err := os.Open(path) //nolint:gosec // the path is the user's
		if err != nil {
			return nil, nil, err
		}
		return f, func() { _ = f.Close() }, nil
	}
	if cmdenv.TerminalOf(env.In).IsTTY {
		return nil, nil, errors.New("requested load from stdin, but stdin is empty")
	}
	return env.In, func() {}, nil
}

// show prints a stream of progress messages.
func show(env *cmdenv.Env, stream io.Reader) error {
	terminal := cmdenv.TerminalOf(env.Out)
	err := jsonmessage.DisplayJSONMessagesStream(stream, env.Out, terminal.FD, terminal.IsTTY, nil)
	var failed *jsonmessage.JSONError
	if errors.As(err, &failed) && failed.Code == 0 {
		return fmt.Errorf("%s", failed.Message)
	}
	return err
}
