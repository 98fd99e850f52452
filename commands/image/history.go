package image

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

type historyOptions struct {
	image   string
	human   bool
	noTrunc bool
	quiet   bool
	format  string
}

type historian interface {
	ImageHistory(ctx context.Context, ref string, options ...client.ImageHistoryOption) ([]image.HistoryResponseItem, error)
}

// NewHistory gives the `history` command.
func NewHistory(env *cmdenv.Env) *cobra.Command {
	o := &historyOptions{}
	cmd := &cobra.Command{
		Use:         "history [OPTIONS] IMAGE",
		Short:       "Show the history of an image",
		Args:        cmdenv.ExactArgs(1),
		Annotations: cmdenv.AlsoKnownAs("image history", "history"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image = args[0]
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runHistory(cmd.Context(), api, env.Out, env.Now(), o)
		},
		ValidArgsFunction: names(env, 1),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.human, "human", "H", true, "Print sizes and dates in human readable format")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only show image IDs")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	return cmd
}

// historyContext is a row of the history, named as in Docker.
type historyContext struct {
	Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string
}

func runHistory(ctx context.Context, api historian, out io.Writer, now time.Time, o *historyOptions) error {
	items, err := api.ImageHistory(ctx, o.image)
	if err != nil {
		return err
	}
	rows := make([]*historyContext, 0, len(items))
	for _, item := range items {
		rows = append(rows, historyRow(item, now, o))
	}
	return render.List[*historyContext]{
		Headers: render.Headers{
			"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
		},
		Table: `{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`,
	}.Write(out, o.format, o.quiet, rows)
}

func historyRow(item image.HistoryResponseItem, now time.Time, o *historyOptions) *historyContext {
	const widest = 45 // of the command, as in Docker
	created := time.Unix(item.Created, 0)
	row := &historyContext{
		ID: item.ID, Comment: item.Comment, CreatedBy: strings.ReplaceAll(item.CreatedBy, "\t", " "),
		CreatedAt: created.Format(time.RFC3339), CreatedSince: created.Format(time.RFC3339), Size: strconv.FormatInt(item.Size, 10),
	}
	if o.human {
		row.CreatedSince = render.Ago(now, created) + " ago"
		row.Size = units.HumanSizeWithPrecision(float64(item.Size), 3)
	}
	if !o.noTrunc {
		row.ID = render.ShortID(item.ID)
		row.CreatedBy = render.Ellipsis(row.CreatedBy, widest)
	}
	return row
}
