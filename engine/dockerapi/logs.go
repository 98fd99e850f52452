package dockerapi

import (
	"fmt"
	"io"
	"strconv"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/pkg/stdcopy"

	"weft/engine/fault"
	"weft/engine/model"
)

// mediaType is what a stream of a container's output says it is: raw from a
// terminal, else two streams in frames, which only newer clients are told.
func mediaType(r *request, tty bool) string {
	if tty || r.before("1.42") {
		return types.MediaTypeRawStream
	}
	return types.MediaTypeMultiplexedStream
}

// splitStreams gives writers for the streams of a process on one connection.
func splitStreams(w io.Writer, tty bool) (stdout, stderr, system io.Writer) {
	if tty {
		return w, w, w
	}
	return stdcopy.NewStdWriter(w, stdcopy.Stdout), stdcopy.NewStdWriter(w, stdcopy.Stderr), stdcopy.NewStdWriter(w, stdcopy.Systemerr)
}

func (s *Server) containerLogs(w *response, r *request) error {
	stdout, stderr := r.flag("stdout"), r.flag("stderr")
	if !stdout && !stderr {
		return fault.Invalid("Bad parameters: you must choose at least one stream")
	}
	opts := LogOptions{Timestamps: r.flag("timestamps"), Tail: -1}
	var err error
	if opts.Since, err = timestamp(r.query.Get("since")); err != nil {
		return err
	}
	if opts.Until, err = timestamp(r.query.Get("until")); err != nil {
		return err
	}
	if n, err := strconv.Atoi(r.query.Get("tail")); err == nil { // "all" and everything else is all
		opts.Tail = n
	}
	c, err := s.cfg.Containers.Container(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	opts.Follow = r.flag("follow") && c.State == model.StateRunning
	// Once the header is out an error can only be told in the stream itself.
	out, errs, system := splitStreams(begin(w, mediaType(r, c.Spec.Process.TTY)), c.Spec.Process.TTY)
	if stdout {
		opts.Stdout = out
	}
	if stderr {
		opts.Stderr = errs
	}
	if err := s.cfg.Containers.Logs(r.Context(), c.ID, opts); err != nil && r.Context().Err() == nil {
		_, _ = fmt.Fprintf(system, "Error grabbing logs: %v\n", err)
	}
	return nil
}
