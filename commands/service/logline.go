package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weft/commands/render"
	"weft/commands/task"
)

// Details by which the daemon says where a log line is from.
const (
	detailNode    = "com.docker.swarm.node.id"
	detailService = "com.docker.swarm.service.id"
	detailTask    = "com.docker.swarm.task.id"
)

// logWriter puts the task's name before each log line. It counts on being
// given whole lines, as stdcopy does.
type logWriter struct {
	ctx     context.Context
	options *logsOptions
	namer   *taskNamer
	out     io.Writer
}

// Write takes one line: [timestamp] details text.
func (w *logWriter) Write(line []byte) (int, error) {
	count, stamp := 2, ""
	if w.options.timestamps {
		count = 3
	}
	parts := bytes.SplitN(line, []byte(" "), count)
	if len(parts) != count {
		return 0, fmt.Errorf("invalid context in log message: %s", line)
	}
	if w.options.timestamps {
		stamp, parts = string(parts[0])+" ", parts[1:]
	}
	details, err := parseDetails(string(parts[0]))
	if err != nil {
		return 0, err
	}
	origin, details, err := takeOrigin(details)
	if err != nil {
		return 0, err
	}
	name, err := w.namer.name(w.ctx, origin)
	if err != nil {
		return 0, err
	}
	extra := ""
	if w.options.details {
		extra = strings.Join(details, ",") + " "
	}
	if _, err := fmt.Fprintf(w.out, "%s%s    | %s%s", stamp, name, extra, parts[1]); err != nil {
		return 0, err
	}
	return len(line), nil
}

// parseDetails reads comma-separated key=value pairs, percent-encoded, and
// gives them sorted.
func parseDetails(s string) ([]string, error) {
	var out []string
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("invalid details format in log message: %q", s)
		}
		key, err := url.QueryUnescape(key)
		if err != nil {
			return nil, fmt.Errorf("read details of log message: %w", err)
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, fmt.Errorf("read details of log message: %w", err)
		}
		out = append(out, key+"="+value)
	}
	slices.Sort(out)
	return out, nil
}

// logOrigin is the task a line is from.
type logOrigin struct{ node, service, task string }

// takeOrigin reads the origin and gives the details that are left.
func takeOrigin(details []string) (o logOrigin, rest []string, err error) {
	fields := map[string]*string{detailNode: &o.node, detailService: &o.service, detailTask: &o.task}
	for _, d := range details {
		key, value, _ := strings.Cut(d, "=")
		if field, ok := fields[key]; ok {
			*field = value
			delete(fields, key)
			continue
		}
		rest = append(rest, d)
	}
	for key := range fields {
		return o, nil, fmt.Errorf("missing %s in details of log message: %v", key, details)
	}
	return o, rest, nil
}

// taskNamer gives the name a task goes by in the log and remembers it.
type taskNamer struct {
	api     logsAPI
	options *logsOptions
	digits  int
	names   *task.Resolver
	known   map[logOrigin]string
}

func newTaskNamer(api logsAPI, o *logsOptions, digits int) *taskNamer {
	names := task.NewResolver(api)
	if o.noResolve {
		names = task.NewResolver(nil)
	}
	return &taskNamer{api: api, options: o, digits: digits, names: names, known: map[logOrigin]string{}}
}

// name is SERVICE.SLOT.ID@NODE, padded to the width of the widest.
func (n *taskNamer) name(ctx context.Context, o logOrigin) (string, error) {
	if name, ok := n.known[o]; ok {
		return name, nil
	}
	t, _, err := n.api.TaskInspectWithRaw(ctx, o.task)
	if err != nil {
		return "", err
	}
	slot := strconv.Itoa(t.Slot)
	name := n.names.Service(ctx, o.service) + "." + slot
	if !n.options.noTaskIDs {
		name += "." + render.ID(t.ID, n.options.noTrunc)
	}
	name += "@" + n.names.Node(ctx, o.node) + strings.Repeat(" ", max(0, n.digits-len(slot)))
	n.known[o] = name
	return name, nil
}
