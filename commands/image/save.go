package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/docker/docker/client"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type saver interface {
	ImageSave(ctx context.Context, refs []string, options ...client.ImageSaveOption) (io.ReadCloser, error)
}

// NewSave gives the `save` command.
func NewSave(env *cmdenv.Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:         "save [OPTIONS] IMAGE [IMAGE...]",
		Short:       "Save one or more images to a tar archive (streamed to STDOUT by default)",
		Args:        cmdenv.MinArgs(1),
		Annotations: cmdenv.AlsoKnownAs("image save", "save"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runSave(cmd.Context(), env, api, args, output)
		},
		ValidArgsFunction: names(env, 0),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

func runSave(ctx context.Context, env *cmdenv.Env, api saver, refs []string, output string) error {
	if output == "" && cmdenv.TerminalOf(env.Out).IsTTY {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	archive, err := api.ImageSave(ctx, refs)
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // read to its end, or given up
	if output == "" {
		_, err := io.Copy(env.Out, archive)
		return err
	}
	if err := WriteWhole(output, archive); err != nil {
		return fmt.Errorf("failed to save image: %w", err)
	}
	return nil
}

// WriteWhole writes a file that appears when all of it is there. What is no
// regular file, as /dev/stdout, is written to.
func WriteWhole(path string, from io.Reader) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() { // /dev/stdout and the like
		f, err := os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // the path is the user's
		if err != nil {
			return err
		}
		_, err = io.Copy(f, from)
		return errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
