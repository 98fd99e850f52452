package probe

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
)

func cat(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	files, err := parse(fs, args, 0, -1)
	if err != nil {
		return err
	}
	return interruptibly(ctx, func() error {
		if len(files) == 0 {
			_, err := io.Copy(s.out, s.in)
			return err
		}
		for _, name := range files {
			if err := catFile(s.out, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// interruptibly runs fn, and leaves it behind when the context ends: nothing
// ends a read of a terminal, or the wait for a FIFO's other end, but the end
// of the process, which is what comes next.
func interruptibly(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func catFile(out io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	_, err = io.Copy(out, f)
	return err
}

func env(_ context.Context, s streams, fs *flag.FlagSet, args []string) error {
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	for _, v := range os.Environ() {
		if _, err := fmt.Fprintln(s.out, v); err != nil {
			return err
		}
	}
	return nil
}

func hostname(_ context.Context, s streams, fs *flag.FlagSet, args []string) error {
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, name)
	return err
}
