package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/events"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

// eventsOptions are the flags of `events`.
type eventsOptions struct {
	since  string
	until  string
	filter opts.FilterOpt
	format string
}

// Streamer streams the daemon's events.
type Streamer interface {
	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)
}

// NewEvents gives the `events` command.
func NewEvents(env *cmdenv.Env) *cobra.Command { return newEventsCommand(env, nil) }

func newEventsCommand(env *cmdenv.Env, hook func(*eventsOptions) error) *cobra.Command {
	o := &eventsOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:               "events [OPTIONS]",
		Short:             "Get real time events from the server",
		Args:              cmdenv.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Annotations:       describe("", cmdenv.Program+" system events", cmdenv.Program+" events"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			tmpl, err := eventTemplate(o.format)
			if err != nil {
				return err
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runEvents(cmd.Context(), env.Out, api, o, tmpl)
		},
	}
	cmd.Flags().StringVar(&o.since, "since", "", "Show all events created since timestamp")
	cmd.Flags().StringVar(&o.until, "until", "", "Stream events until this timestamp")
	cmd.Flags().VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	cmd.Flags().StringVar(&o.format, "format", "", render.InspectFormatHelp)
	return cmd
}

// eventTemplate parses a format and tries it, so that a field that does not
// exist is refused before the first event; nil is the default form.
func eventTemplate(format string) (*template.Template, error) {
	if format == "" {
		return nil, nil
	}
	const problem = "Error parsing format: "
	tmpl, err := parseFormat(format, problem)
	if err != nil {
		return nil, err
	}
	if err := tmpl.Execute(io.Discard, &events.Message{}); err != nil {
		return nil, cmdenv.StatusError{Code: cmdenv.CodeTemplate, Status: problem + err.Error(), Cause: err}
	}
	return tmpl, nil
}

func runEvents(ctx context.Context, out io.Writer, api Streamer, o *eventsOptions, tmpl *template.Template) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, errs := api.Events(ctx, events.ListOptions{Since: o.since, Until: o.until, Filters: o.filter.Value()})
	for {
		select {
		case m := <-messages:
			if tmpl == nil {
				writeEvent(out, m)
			} else if err := writeFormat(out, tmpl, m); err != nil {
				return err
			}
		case err := <-errs:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// stamp is RFC 3339 with all nine digits of a second's fraction.
const stamp = "2006-01-02T15:04:05.000000000Z07:00"

// writeEvent prints time, kind, action, object and, in brackets, attributes.
func writeEvent(out io.Writer, m events.Message) {
	var text strings.Builder
	switch {
	case m.TimeNano != 0:
		text.WriteString(time.Unix(0, m.TimeNano).Format(stamp) + " ")
	case m.Time != 0:
		text.WriteString(time.Unix(m.Time, 0).Format(stamp) + " ")
	}
	fmt.Fprintf(&text, "%s %s %s", m.Type, m.Action, m.Actor.ID)
	if len(m.Actor.Attributes) > 0 {
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(m.Actor.Attributes)) {
			pairs = append(pairs, key+"="+m.Actor.Attributes[key])
		}
		fmt.Fprintf(&text, " (%s)", strings.Join(pairs, ", "))
	}
	fmt.Fprintln(out, text.String())
}
