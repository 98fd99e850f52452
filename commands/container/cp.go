package container

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/containerd/log"
	"github.com/docker/docker/api/types/container"
	"github.com/moby/go-archive"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// copyOptions are the flags and arguments of `cp`.
type copyOptions struct {
	source, destination string
	followLink          bool
	archive             bool // with the owners
	quiet               bool
}

// copyAPI is what `cp` asks of the daemon.
type copyAPI interface {
	copySource
	copyTarget
}

// pathStater describes a path inside a container.
type pathStater interface {
	ContainerStatPath(ctx context.Context, id, path string) (container.PathStat, error)
}

// NewCopy gives the `cp` command.
func NewCopy(env *cmdenv.Env) *cobra.Command { return newCopyCommand(env, nil) }

func newCopyCommand(env *cmdenv.Env, hook func(*copyOptions) error) *cobra.Command {
	o := &copyOptions{}
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\t" + cmdenv.Program + " cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
		Short: "Copy files/folders between a container and the local filesystem",
		Long: `Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.`,
		Args:        cmdenv.ExactArgs(2),
		Annotations: cmdenv.AlsoKnownAs("container cp", "cp"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 1 || strings.ContainsAny(prefix, "./:") {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return complete.Suffixed(complete.Containers(env, true, nil), ":")(cmd, args, prefix)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source, o.destination = args[0], args[1]
			switch {
			case o.source == "":
				return errors.New("source can not be empty")
			case o.destination == "":
				return errors.New("destination can not be empty")
			}
			if !cmd.Flags().Changed("quiet") {
				o.quiet = !cmdenv.TerminalOf(env.Out).IsTTY
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runCopy(cmd.Context(), env, api, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.followLink, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	flags.BoolVarP(&o.archive, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	flags.BoolVarP(&o.quiet, "quiet", "q", false,
		"Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached")
	return cmd
}

func runCopy(ctx context.Context, env *cmdenv.Env, api copyAPI, o *copyOptions) error {
	// The archiver logs by itself, to standard error, that an archive it was
	// packing is no longer wanted; why it is not is the error that we give.
	if err := log.SetLevel("fatal"); err != nil {
		return err
	}
	from, source := containerPath(o.source)
	to, destination := containerPath(o.destination)
	switch {
	case from != "" && to != "":
		return errors.New("copying between containers is not supported")
	case from != "":
		return copyFrom(ctx, env, api, o, copied{from, source, destination})
	case to != "":
		return copyTo(ctx, env, api, o, copied{to, source, destination})
	default:
		return errors.New("must specify at least one container source")
	}
}

// copied says what is copied where; one of the paths is inside the container.
type copied struct{ container, source, destination string }

// containerPath splits CONTAINER:PATH. A path of ours with a colon begins with
// a slash or a dot.
func containerPath(arg string) (name, path string) {
	name, path, ok := strings.Cut(arg, ":")
	if filepath.IsAbs(arg) || !ok || strings.HasPrefix(name, ".") {
		return "", arg
	}
	return name, path
}

// localPath makes a path of ours absolute. A slash or dot at its end says that
// it is a directory, and stays.
func localPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return archive.PreserveTrailingDotOrSeparator(absolute, path), nil
}

// linkTarget gives what a link at path inside a container leads to.
func linkTarget(path string, stat container.PathStat) string {
	if filepath.IsAbs(stat.LinkTarget) {
		return stat.LinkTarget
	}
	parent, _ := archive.SplitPathDirEntry(path)
	return filepath.Join(parent, stat.LinkTarget)
}
