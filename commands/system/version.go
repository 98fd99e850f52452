package system

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/docker/docker/api/types"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

// versionOptions are the flags of `version`.
type versionOptions struct{ format string }

// versionAPI is what `version` asks of the daemon.
type versionAPI interface {
	ClientVersion() string
	ServerVersion(ctx context.Context) (types.Version, error)
}

// versions is what templates of `version` see. Server is nil if none answers.
type versions struct {
	Client clientVersion
	Server *types.Version
}

// NewVersion gives the `version` command.
func NewVersion(env *cmdenv.Env) *cobra.Command { return newVersionCommand(env, nil) }

func newVersionCommand(env *cmdenv.Env, hook func(*versionOptions) error) *cobra.Command {
	o := &versionOptions{}
	cmd := &cobra.Command{
		Use:               "version [OPTIONS]",
		Short:             "Show the weft version information",
		Args:              cmdenv.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Annotations:       describe("10"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			return runVersion(cmd.Context(), env, o)
		},
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", render.InspectFormatHelp)
	return cmd
}

// runVersion shows this program's version also if no engine answers, and then
// says why none does.
func runVersion(ctx context.Context, env *cmdenv.Env, o *versionOptions) error {
	write := func(v versions) error { return writeVersions(env.Out, v) }
	if o.format != "" {
		tmpl, err := parseFormat(o.format, "template parsing error: ")
		if err != nil {
			return err
		}
		write = func(v versions) error { return writeFormat(env.Out, tmpl, v) }
	}
	v, unreachable := fetchVersions(ctx, env)
	if err := write(v); err != nil && unreachable == nil {
		return err
	}
	return unreachable
}

func fetchVersions(ctx context.Context, env *cmdenv.Env) (versions, error) {
	api, err := env.Client(ctx)
	if err != nil {
		v := versions{Client: newClientVersion(env, "")}
		v.Client.APIVersion = v.Client.DefaultAPIVersion
		return v, err
	}
	return askVersions(ctx, env, api)
}

func askVersions(ctx context.Context, env *cmdenv.Env, api versionAPI) (versions, error) {
	v := versions{Client: newClientVersion(env, api.ClientVersion())}
	server, err := api.ServerVersion(ctx)
	if err != nil {
		return v, err
	}
	at := slices.IndexFunc(server.Components, isEngine)
	if at < 0 {
		server.Components = append(server.Components, engineComponent(server))
	} else if built, ok := server.Components[at].Details["BuildTime"]; ok {
		server.Components[at].Details["BuildTime"] = readableTime(built)
	}
	v.Server = &server
	return v, nil
}

func isEngine(c types.ComponentVersion) bool { return c.Name == "Engine" }

// engineComponent says as a component what old daemons say at the top.
func engineComponent(v types.Version) types.ComponentVersion {
	return types.ComponentVersion{
		Name:    "Engine",
		Version: v.Version,
		Details: map[string]string{
			"ApiVersion":    v.APIVersion,
			"MinAPIVersion": v.MinAPIVersion,
			"GitCommit":     v.GitCommit,
			"GoVersion":     v.GoVersion,
			"Os":            v.Os,
			"Arch":          v.Arch,
			"BuildTime":     readableTime(v.BuildTime),
			"Experimental":  strconv.FormatBool(v.Experimental),
		},
	}
}

// writeVersions prints two blocks, values in a column, in docker's layout.
func writeVersions(out io.Writer, v versions) error {
	w := tabwriter.NewWriter(out, 20, 1, 1, ' ', 0) // docker's widths
	c := v.Client
	fmt.Fprintln(w, "Client:")
	fmt.Fprintf(w, " Version:\t%s\n", c.Version)
	if c.APIVersion == c.DefaultAPIVersion {
		fmt.Fprintf(w, " API version:\t%s\n", c.APIVersion)
	} else {
		fmt.Fprintf(w, " API version:\t%s (downgraded from %s)\n", c.APIVersion, c.DefaultAPIVersion)
	}
	fmt.Fprintf(w, " Go version:\t%s\n Git commit:\t%s\n Built:\t%s\n OS/Arch:\t%s/%s\n Context:\t%s\n",
		c.GoVersion, c.GitCommit, c.BuildTime, c.Os, c.Arch, c.Context)
	if v.Server != nil {
		writeServer(w, *v.Server)
	}
	return w.Flush()
}

func writeServer(w io.Writer, s types.Version) {
	heading := "Server:"
	if s.Platform.Name != "" {
		heading += " " + s.Platform.Name
	}
	fmt.Fprintf(w, "\n%s\n", heading)
	for _, c := range s.Components {
		fmt.Fprintf(w, " %s:\n  Version:\t%s\n", c.Name, c.Version)
		d := c.Details
		if isEngine(c) {
			fmt.Fprintf(w, "  API version:\t%s (minimum version %s)\n", d["ApiVersion"], d["MinAPIVersion"])
			fmt.Fprintf(w, "  Go version:\t%s\n  Git commit:\t%s\n  Built:\t%s\n", d["GoVersion"], d["GitCommit"], d["BuildTime"])
			fmt.Fprintf(w, "  OS/Arch:\t%s/%s\n  Experimental:\t%s\n", d["Os"], d["Arch"], d["Experimental"])
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(d)) {
			fmt.Fprintf(w, "  %s:\t%s\n", key, d[key])
		}
	}
}
