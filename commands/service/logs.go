package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/task"
)

// logsOptions are the flags and arguments of `service logs`.
type logsOptions struct {
	target     string
	noResolve  bool
	noTrunc    bool
	noTaskIDs  bool
	follow     bool
	since      string
	timestamps bool
	tail       string
	details    bool
	raw        bool
}

// logsAPI is what `service logs` asks of the daemon.
type logsAPI interface {
	task.Inspector
	TaskInspectWithRaw(ctx context.Context, id string) (swarm.Task, []byte, error)
	ServiceLogs(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
	TaskLogs(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
}

func newLogsCommand(env *cmdenv.Env, hook func(*logsOptions) error) *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] SERVICE|TASK",
		Short:             "Fetch the logs of a service or task",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: complete.Services(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.target = args[0]
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
	set.BoolVar(&o.noResolve, "no-resolve", false, "Do not map IDs to Names in output")
	set.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	set.BoolVar(&o.raw, "raw", false, "Do not neatly format logs")
	set.BoolVar(&o.noTaskIDs, "no-task-ids", false, "Do not include task IDs in output")
	set.BoolVarP(&o.follow, "follow", "f", false, "Follow log output")
	set.StringVar(&o.since, "since", "",
		`Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	set.BoolVarP(&o.timestamps, "timestamps", "t", false, "Show timestamps")
	set.BoolVar(&o.details, "details", false, "Show extra details provided to logs")
	set.StringVarP(&o.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

// logSource is where a target's log comes from.
type logSource struct {
	open   func(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
	tty    bool
	digits int // of the highest slot, which the names are padded to
}

func runLogs(ctx context.Context, env *cmdenv.Env, api logsAPI, o *logsOptions) error {
	source, err := findLog(ctx, api, o.target)
	if err != nil {
		return err
	}
	if source.tty && !o.raw {
		return errors.New("tty service logs only supported with --raw")
	}
	stream, err := source.open(ctx, o.target, container.LogsOptions{
		ShowStdout: true,
		ShowStderr: true,
		Since:      o.since,
		Timestamps: o.timestamps,
		Follow:     o.follow,
		Tail:       o.tail,
		Details:    o.details || !o.raw, // the details say which task a line is from
	})
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // read to its end, or given up
	stdout, stderr := env.Out, env.Err
	switch {
	case source.tty:
		_, err = io.Copy(stdout, stream)
		return err
	case !o.raw:
		namer := newTaskNamer(api, o, source.digits)
		stdout = &logWriter{ctx: ctx, options: o, namer: namer, out: stdout}
		stderr = &logWriter{ctx: ctx, options: o, namer: namer, out: stderr}
	}
	_, err = stdcopy.StdCopy(stdout, stderr, stream)
	return err
}

// findLog looks for a service and then for a task of that name or ID.
func findLog(ctx context.Context, api logsAPI, target string) (logSource, error) {
	service, _, err := api.ServiceInspectWithRaw(ctx, target, swarm.ServiceInspectOptions{})
	if err == nil {
		return serviceLog(api, service), nil
	}
	if !errdefs.IsNotFound(err) {
		return logSource{}, err
	}
	t, _, err := api.TaskInspectWithRaw(ctx, target)
	switch {
	case errdefs.IsNotFound(err):
		return logSource{}, fmt.Errorf("no such task or service: %s", target)
	case err != nil:
		return logSource{}, err
	}
	source := logSource{open: api.TaskLogs, digits: len(strconv.Itoa(t.Slot))}
	if c := t.Spec.ContainerSpec; c != nil {
		source.tty = c.TTY
	}
	return source, nil
}

func serviceLog(api logsAPI, s swarm.Service) logSource {
	source := logSource{open: api.ServiceLogs, digits: 1}
	if c := s.Spec.TaskTemplate.ContainerSpec; c != nil {
		source.tty = c.TTY
	}
	if mode := s.Spec.Mode.Replicated; mode != nil && mode.Replicas != nil {
		source.digits = len(strconv.FormatUint(*mode.Replicas, 10))
	}
	return source
}
