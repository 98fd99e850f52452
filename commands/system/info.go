package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"text/template"

	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

// infoOptions are the flags of `info`.
type infoOptions struct{ format string }

// clientInfo is what `info` says about this program.
type clientInfo struct {
	Debug bool
	clientVersion
	Plugins  []string // weft has none; scripts for docker look
	Warnings []string
}

// report is what templates of `info` see: the daemon's fields at the top, as
// docker has them.
type report struct {
	*system.Info `json:",omitempty"`

	ServerErrors []string     `json:",omitempty"`
	ClientInfo   *clientInfo  `json:",omitempty"`
	ClientErrors []string     `json:",omitempty"`
	Engine       *engineFound `json:",omitempty"`
}

// Informer describes the daemon.
type Informer interface {
	Info(ctx context.Context) (system.Info, error)
}

// NewInfo gives the `info` command.
func NewInfo(env *cmdenv.Env) *cobra.Command { return newInfoCommand(env, nil) }

func newInfoCommand(env *cmdenv.Env, hook func(*infoOptions) error) *cobra.Command {
	o := &infoOptions{}
	cmd := &cobra.Command{
		Use:               "info [OPTIONS]",
		Short:             "Display system-wide information",
		Args:              cmdenv.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Annotations:       describe("12", cmdenv.Program+" system info", cmdenv.Program+" info"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			if o.format != "" {
				return infoByTemplate(cmd.Context(), env, o.format)
			}
			return infoAsText(cmd.Context(), env)
		},
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", render.InspectFormatHelp)
	return cmd
}

func newReport(env *cmdenv.Env) *report {
	return &report{
		Info: &system.Info{},
		ClientInfo: &clientInfo{
			Debug:         env.Debug(),
			clientVersion: newClientVersion(env, ""),
			Plugins:       []string{},
		},
	}
}

// ask fills in what the daemon says. Only an engine that cannot be reached is
// an error; what an engine answers that is not information, as a refusal, is
// part of the report.
func (r *report) ask(ctx context.Context, env *cmdenv.Env) error {
	api, err := env.Client(ctx)
	if err != nil {
		return err
	}
	r.ClientInfo.APIVersion = api.ClientVersion()
	engine, err := env.Engine(ctx)
	if err != nil {
		return err
	}
	r.Engine = newEngineFound(engine)
	r.read(ctx, api)
	return nil
}

func (r *report) read(ctx context.Context, api Informer) {
	info, err := api.Info(ctx)
	if err != nil {
		r.ServerErrors = append(r.ServerErrors, err.Error())
		return
	}
	r.Info = &info
}

func infoByTemplate(ctx context.Context, env *cmdenv.Env, format string) error {
	tmpl, err := parseFormat(format, "template parsing error: ")
	if err != nil {
		return err
	}
	r := newReport(env)
	var unreachable error
	if needsServer(tmpl, format, r) {
		unreachable = r.ask(ctx, env)
		for _, text := range r.ServerErrors {
			fmt.Fprintln(env.Err, text) // the template may not show it
		}
	}
	return errors.Join(unreachable, writeFormat(env.Out, tmpl, r))
}

// needsServer reports whether a template is about more than this program, by
// trying it on that alone.
func needsServer(tmpl *template.Template, format string, r *report) bool {
	if format == "json" || format == jsonTemplate || !regexp.MustCompile(`\.[a-zA-Z]`).MatchString(format) {
		return true
	}
	ours := struct {
		ClientInfo   *clientInfo
		ClientErrors []string
	}{r.ClientInfo, r.ClientErrors}
	return tmpl.Execute(io.Discard, ours) != nil
}

func infoAsText(ctx context.Context, env *cmdenv.Env) error {
	r := newReport(env)
	unreachable := r.ask(ctx, env)
	p := infoPrinter{out: env.Out, debug: env.Debug()}
	p.client(r)
	p.line("")
	p.line("Server:")
	if unreachable != nil {
		return unreachable
	}
	if len(r.ServerErrors) == 0 {
		p.server(r.Info)
		for _, text := range r.Warnings {
			fmt.Fprintln(env.Err, text)
		}
		return p.err
	}
	for _, text := range r.ServerErrors {
		fmt.Fprintln(env.Err, "ERROR:", text)
	}
	return errors.New("errors pretty printing info")
}
