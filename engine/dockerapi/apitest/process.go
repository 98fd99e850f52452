package apitest

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"weft/engine/dockerapi"
	"weft/engine/model"
)

// run is the process of a container.
func (e *Engine) run(c *container) {
	e.mu.Lock()
	words, input := c.Spec.Process.Args, c.input
	e.mu.Unlock()
	status := 0
	program := "serve"
	if len(words) > 0 {
		program, words = words[0], words[1:]
	}
	switch program {
	case "echo", "err":
		e.write(c, chunk{stderr: program == "err", data: strings.Join(words, " ") + "\n"})
	case "exit":
		status, _ = strconv.Atoi(strings.Join(words, ""))
	case "cat":
		b := make([]byte, 1024)
		for {
			n, err := input.Read(b)
			if n > 0 {
				e.write(c, chunk{data: string(b[:n])})
			}
			if err != nil {
				break
			}
		}
		select {
		case status = <-c.quit:
		default:
		}
	default:
		status = <-c.quit
	}
	e.exit(c, status)
}

func (e *Engine) write(c *container, out chunk) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out.at = e.now()
	c.output = append(c.output, out)
	e.notifyLocked()
}

func (e *Engine) exit(c *container, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.State, c.ExitCode, c.Finished, c.Pid, c.Endpoints = model.StateExited, status, e.now(), 0, nil
	c.exits++
	select {
	case <-c.quit: // meant for the run that ended
	default:
	}
	e.announce(c.Container, "die")
	if c.Spec.AutoRemove && !c.removed {
		e.removeLocked(c, true)
	}
	e.notifyLocked()
}

func (b containerBackend) Attach(ctx context.Context, name string, opts dockerapi.AttachOptions, attached func() error) error {
	e := b.e
	e.mu.Lock()
	c, err := e.findLocked(name)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	from, exits, stdin := len(c.output), c.exits, c.stdin
	if opts.Logs {
		from = 0
	}
	e.attached++
	e.mu.Unlock()
	defer e.count(&e.attached, -1)
	if err := attached(); err != nil {
		return err
	}
	if opts.Stdin != nil {
		e.running.Go(func() {
			if _, err := io.Copy(stdin, opts.Stdin); err == nil {
				_ = stdin.Close()
			}
		})
	}
	if !opts.Stream {
		exits = -1
	}
	return e.follow(ctx, c, from, exits, func(o chunk) error {
		w := opts.Stdout
		if o.stderr {
			w = opts.Stderr
		}
		if w == nil {
			return nil
		}
		_, err := io.WriteString(w, o.data)
		return err
	})
}

// count adds to a number of what goes on.
func (e *Engine) count(n *int, by int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*n += by
}

// Attached is how many clients are attached to containers.
func (e *Engine) Attached() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.attached
}

// Waiting is how many clients wait for containers.
func (e *Engine) Waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.waiting
}

// follow hands over what is written from the given chunk on, until the
// container has ended more often than exits.
func (e *Engine) follow(ctx context.Context, c *container, from, exits int, each func(chunk) error) error {
	for {
		e.mu.Lock()
		changed, out, over := e.changed, c.output[from:], c.exits > exits || c.removed
		e.mu.Unlock()
		for _, o := range out {
			if err := each(o); err != nil {
				return err
			}
		}
		from += len(out)
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b containerBackend) Logs(ctx context.Context, name string, opts dockerapi.LogOptions) error {
	e := b.e
	e.mu.Lock()
	c, err := e.findLocked(name)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	from, exits := 0, -1
	if opts.Tail >= 0 {
		from = max(len(c.output)-opts.Tail, 0)
	}
	if opts.Follow && c.State == model.StateRunning {
		exits = c.exits
	}
	e.mu.Unlock()
	return e.follow(ctx, c, from, exits, func(o chunk) error {
		w := opts.Stdout
		if o.stderr {
			w = opts.Stderr
		}
		if w == nil || o.at.Before(opts.Since) || (!opts.Until.IsZero() && o.at.After(opts.Until)) {
			return nil
		}
		stamp := ""
		if opts.Timestamps {
			stamp = o.at.UTC().Format(time.RFC3339Nano) + " "
		}
		_, err := fmt.Fprint(w, stamp+o.data)
		return err
	})
}
