package container

import (
	"context"
	"io"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// logsOptions are the flags and arguments of `logs`.
type logsOptions struct {
	container  string
	follow     bool
	since      string
	until      string
	timestamps bool
	details    bool
	tail       string
}

// Inspector looks containers up.
type Inspector interface {
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
}

// logsAPI is what `logs` asks of the daemon.
type logsAPI interface {
	Inspector
	ContainerLogs(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
}

// NewLogs gives the `logs` command.
func NewLogs(env *cmdenv.Env) *cobra.Command { return newLogsCommand(env, nil) }

func newLogsCommand(env *cmdenv.Env, hook func(*logsOptions) error) *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Fetch the logs of a container",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: complete.Containers(env, true, nil),
		Annotations:       cmdenv.AlsoKnownAs("container logs", "logs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.container = args[0]
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runLogs(cmd.Context(), env, api, o)
		},
	}
	set := cmd.Flags()
	set.BoolVarP(&o.follow, "follow", "f", false, "Follow log output")
	set.StringVar(&o.since, "since", "",
		`Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	set.StringVar(&o.until, "until", "",
		`Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	set.BoolVarP(&o.timestamps, "timestamps", "t", false, "Show timestamps")
	set.BoolVar(&o.details, "details", false, "Show extra details provided to logs")
	set.StringVarP(&o.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

func runLogs(ctx context.Context, env *cmdenv.Env, api logsAPI, o *logsOptions) error {
	c, err := api.ContainerInspect(ctx, o.container)
	if err != nil {
		return err
	}
	stream, err := api.ContainerLogs(ctx, c.ID, container.LogsOptions{
		ShowStdout: true,
		ShowStderr: true,
		Since:      o.since,
		Until:      o.until,
		Timestamps: o.timestamps,
		Follow:     o.follow,
		Tail:       o.tail,
		Details:    o.details,
	})
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // read to its end, or given up
	if c.Config.Tty {
		_, err = io.Copy(env.Out, stream)
	} else {
		_, err = stdcopy.StdCopy(env.Out, env.Err, stream)
	}
	return err
}
