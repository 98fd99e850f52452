package image

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/image"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type importOptions struct {
	source    string
	reference string
	changes   opts.ListOpts
	message   string
	platform  string
}

type importer interface {
	ImageImport(ctx context.Context, source image.ImportSource, ref string, options image.ImportOptions) (io.ReadCloser, error)
}

// NewImport gives the `import` command.
func NewImport(env *cmdenv.Env) *cobra.Command {
	o := &importOptions{changes: opts.NewListOpts(nil)}
	cmd := &cobra.Command{
		Use:         "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
		Short:       "Import the contents from a tarball to create a filesystem image",
		Args:        cmdenv.RangeArgs(1, 2),
		Annotations: cmdenv.AlsoKnownAs("image import", "import"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source = args[0]
			if len(args) > 1 {
				o.reference = args[1]
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runImport(cmd.Context(), env, api, o)
		},
	}
	flags := cmd.Flags()
	flags.VarP(&o.changes, "change", "c", "Apply Dockerfile instruction to the created image")
	flags.StringVarP(&o.message, "message", "m", "", "Set commit message for imported image")
	flags.StringVar(&o.platform, "platform", "", "Set platform if server is multi-platform capable")
	return cmd
}

func runImport(ctx context.Context, env *cmdenv.Env, api importer, o *importOptions) error {
	if o.reference != "" {
		if _, err := reference.ParseNormalizedNamed(o.reference); err != nil {
			return err
		}
	}
	source := image.ImportSource{SourceName: o.source}
	remote := strings.HasPrefix(o.source, "http://") || strings.HasPrefix(o.source, "https://")
	switch {
	case o.source == "-":
		if cmdenv.TerminalOf(env.In).IsTTY {
			return errors.New("requested import from stdin, but stdin is empty")
		}
		source.Source = env.In
	case !remote:
		f, err := os.Open(o.source)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		source = image.ImportSource{Source: f, SourceName: "-"}
	}
	stream, err := api.ImageImport(ctx, source, o.reference, image.ImportOptions{
		Message: o.message, Changes: o.changes.GetSlice(), Platform: o.platform,
	})
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // read to its end, or given up
	return show(env, stream)
}
