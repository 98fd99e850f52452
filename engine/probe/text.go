package probe

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
)

func cat(_ context.Context, s streams, fs *flag.FlagSet, args []string) error {
	files, err := parse(fs, args, 0, -1)
	if err != nil {
		return err
	}
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
