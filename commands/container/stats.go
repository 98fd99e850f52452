package container

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

// statsInterval is how often the table is drawn.
const statsInterval = 500 * time.Millisecond

// statsOptions are the flags and arguments of `stats`.
type statsOptions struct {
	containers []string
	all        bool
	noStream   bool
	noTrunc    bool
	format     string
}

// statsAPI is what `stats` asks of the daemon.
type statsAPI interface {
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
	ContainerStats(ctx context.Context, id string, stream bool) (container.StatsResponseReader, error)
	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)
}

// NewStats gives the `stats` command.
func NewStats(env *cmdenv.Env) *cobra.Command { return newStatsCommand(env, nil) }

func newStatsCommand(env *cmdenv.Env, hook func(*statsOptions) error) *cobra.Command {
	o := &statsOptions{}
	cmd := &cobra.Command{
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Display a live stream of container(s) resource usage statistics",
		Args:              cmdenv.MinArgs(0),
		ValidArgsFunction: complete.Containers(env, false, nil),
		Annotations:       cmdenv.AlsoKnownAs("container stats", "stats"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.containers = args
			if hook != nil {
				return hook(o)
			}
			if o.format == "" {
				o.format = env.Config().StatsFormat
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runStats(cmd.Context(), env.Out, api, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	flags.BoolVar(&o.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	return cmd
}

// runStats draws the table once, or again and again until the context or the
// daemon's events end. Every container it shows has been heard of before.
func runStats(ctx context.Context, out io.Writer, api statsAPI, o *statsOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	feed := newStatsFeed(api, !o.noStream)
	defer feed.wait() // what it runs ends with the context
	defer cancel()
	ended, err := o.follow(ctx, api, feed)
	if err != nil {
		return err
	}
	feed.awaitFirst(ctx)
	if len(o.containers) > 0 {
		if err := feed.err(); err != nil {
			return err
		}
	}
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := o.draw(out, feed.samples()); err != nil || o.noStream {
			return err
		}
		select {
		case err := <-ended:
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return nil // the daemon restarts
			}
			return err
		default:
		}
	}
}

// follow begins with the containers that are asked for. Without names these
// come and go: then the channel tells how listening to that ended.
func (o *statsOptions) follow(ctx context.Context, api statsAPI, feed *statsFeed) (<-chan error, error) {
	if len(o.containers) > 0 {
		for _, name := range o.containers {
			feed.add(ctx, name)
		}
		return nil, nil
	}
	// Listening comes first, so that none is missed between the two.
	messages, errs := api.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)))})
	list, err := api.ContainerList(ctx, container.ListOptions{All: o.all})
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		feed.add(ctx, c.ID)
	}
	return feed.watch(ctx, o.all, messages, errs), nil
}

func (o *statsOptions) draw(out io.Writer, samples []statsSample) error {
	rows := make([]*statsContext, 0, len(samples))
	for _, s := range samples {
		rows = append(rows, s.row(o.noTrunc))
	}
	var text bytes.Buffer
	if err := statsListing().Write(&text, o.format, false, rows); err != nil {
		return err
	}
	if o.noStream {
		_, err := text.WriteTo(out)
		return err
	}
	// From the corner of the screen, over what was there before: what is left
	// of longer lines goes, and of more lines.
	const home, clearLine, clearBelow = "\x1b[H", "\x1b[K", "\x1b[J"
	_, err := io.WriteString(out, home+strings.ReplaceAll(text.String(), "\n", clearLine+"\n")+clearBelow)
	return err
}
