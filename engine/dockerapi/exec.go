package dockerapi

import (
	"context"
	"net/http"

	"github.com/docker/docker/api/types/container"
	"github.com/moby/term"

	"weft/engine/fault"
	"weft/engine/model"
)

func (s *Server) execCreate(w *response, r *request) error {
	var req container.ExecOptions
	if err := r.decode(&req); err != nil {
		return err
	}
	if len(req.Cmd) == 0 {
		return fault.Invalid("no exec command specified")
	}
	if req.DetachKeys != "" {
		if _, err := term.ToBytes(req.DetachKeys); err != nil {
			return fault.Invalid("Invalid escape keys (%s) provided", req.DetachKeys)
		}
	}
	exec := model.Exec{
		Spec: model.ExecSpec{
			Args: req.Cmd, Env: req.Env, Dir: req.WorkingDir, User: req.User, TTY: req.Tty, Stdin: req.AttachStdin, AllCaps: req.Privileged,
		},
		Stdin: req.AttachStdin, Stdout: req.AttachStdout, Stderr: req.AttachStderr, DetachKeys: req.DetachKeys,
	}
	if size := req.ConsoleSize; size != nil && !r.before("1.42") {
		exec.Spec.Rows, exec.Spec.Cols = uint16(size[0]), uint16(size[1]) //nolint:gosec // a terminal's
	}
	id, err := s.cfg.Containers.CreateExec(r.Context(), r.vars["name"], exec)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, container.ExecCreateResponse{ID: id})
}

func (s *Server) execStart(w *response, r *request) error {
	var req container.ExecStartOptions
	if err := r.decode(&req); err != nil {
		return err
	}
	exec, err := s.cfg.Containers.Exec(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	if req.Detach {
		return done(w, http.StatusOK, s.cfg.Containers.StartExec(r.Context(), exec.ID, AttachOptions{}, func() error { return nil }))
	}
	tty := exec.Spec.TTY
	keys, err := keySequence(exec.DetachKeys)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	conn := &hijacked{ready: make(chan struct{}), cancel: cancel}
	defer conn.close()
	opts := AttachOptions{Stream: true}
	stdout, stderr, _ := splitStreams(conn, tty)
	if exec.Stdout {
		opts.Stdout = stdout
	}
	if exec.Stderr && !tty {
		opts.Stderr = stderr
	}
	if exec.Stdin {
		opts.Stdin = conn
		if tty {
			opts.Stdin = &detachable{term.NewEscapeProxy(conn, keys), ctx, cancel}
		}
	}
	err = s.cfg.Containers.StartExec(ctx, exec.ID, opts, func() error { return conn.take(w, upgrade(r, tty)) })
	if ctx.Err() != nil && w.started {
		return nil
	}
	return err
}

func (s *Server) execInspect(w *response, r *request) error {
	e, err := s.cfg.Containers.Exec(r.Context(), r.vars["id"])
	if err != nil {
		return err
	}
	entry, args := "", []string{}
	if len(e.Spec.Args) > 0 {
		entry, args = e.Spec.Args[0], e.Spec.Args[1:]
	}
	var code *int
	if e.Exit != nil {
		code = &e.Exit.Code
	}
	return WriteJSON(w, http.StatusOK, map[string]any{
		"ID": e.ID, "Running": e.Running, "ExitCode": code, "OpenStdin": e.Stdin, "OpenStdout": e.Stdout, "OpenStderr": e.Stderr,
		"CanRemove": false, "ContainerID": e.ContainerID, "DetachKeys": e.DetachKeys, "Pid": 0,
		"ProcessConfig": map[string]any{
			"tty": e.Spec.TTY, "entrypoint": entry, "arguments": args, "privileged": e.Spec.AllCaps, "user": e.Spec.User,
		},
	})
}

func (s *Server) execResize(w *response, r *request) error {
	rows, cols, err := terminalSize(r)
	if err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Containers.ResizeExec(r.Context(), r.vars["name"], rows, cols))
}
