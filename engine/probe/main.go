// Package probe is the program of the built-in image weft/probe: a handful of
// small tools, as in busybox, that make a network visible. It serves echoes,
// asks other probes what they reach, pings, dials and looks names up.
//
// It runs inside containers, so it knows nothing of the engine: it sees
// addresses, sockets and names, as any program there does.
package probe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// The exit codes of a shell for a command that is not there or was used wrong.
const (
	codeUsage    = 2
	codeNotFound = 127
)

// streams are the standard streams of an applet.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// applet is one tool. Its run gets the arguments after the name.
type applet struct {
	name, args, short string
	run               func(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error
}

// defaultApplet is what the image runs without a command.
const defaultApplet = "serve"

func applets() []applet {
	return []applet{
		{"serve", "", "serve HTTP on port 80 and echo TCP and UDP on port 7 (default)", serve},
		{"matrix", "ADDR...", "ask every probe to reach all the others, and this one", matrix},
		{"reach", "ADDR...", "reach probes over HTTP", reach},
		{"ping", "ADDR", "send ICMP echo requests", ping},
		{"dial", "tcp|udp ADDR:PORT", "send a line to an echo server and read it back", dial},
		{"http", "ADDR[:PORT][/PATH]", "get a page", get},
		{"dig", "[@SERVER] NAME [TYPE]", "look up a name", dig},
		{"ip", "", "list links and addresses", listLinks},
		{"sleep", "DURATION", "wait, as in 1h, 30 or infinity", sleep},
		{"cat", "FILE...", "print files", cat},
		{"env", "", "print the environment", env},
		{"hostname", "", "print the host's name", hostname},
		{"true", "", "do nothing, successfully", func(context.Context, streams, *flag.FlagSet, []string) error { return nil }},
		{"false", "", "do nothing, unsuccessfully", func(context.Context, streams, *flag.FlagSet, []string) error { return exit(1) }},
	}
}

// exit is an error that only chooses the exit code: what was to be said has
// been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usage is wrong usage.
type usage string

func (u usage) Error() string { return string(u) }

// caught is the signal that ended a context.
type caught struct{ sig syscall.Signal }

func (c caught) Error() string { return c.sig.String() }

// Main runs the applet args name, or the default one, and gives its exit code.
// SIGINT and SIGTERM end it: serve, and a ping that was answered, successfully,
// the others with 128+n.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() { // ends with the context, which Main ends
		select {
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok {
				cancel(caught{n})
			}
		case <-ctx.Done():
		}
	}()
	return run(ctx, args, streams{in, out, errOut})
}

func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 {
		args = []string{defaultApplet}
	}
	name := args[0][strings.LastIndexByte(args[0], '/')+1:]
	if name == "--help" || name == "-h" || name == "help" {
		fmt.Fprint(s.out, help())
		return 0
	}
	all := applets()
	i := slices.IndexFunc(all, func(a applet) bool { return a.name == name })
	if i < 0 {
		fmt.Fprintf(s.err, "probe: %s: not found\n\n%s", args[0], help())
		return codeNotFound
	}
	return code(ctx, s, all[i], all[i].call(ctx, s, args[1:]))
}

func (a applet) call(ctx context.Context, s streams, args []string) error {
	fs := flag.NewFlagSet(a.name, flag.ContinueOnError)
	fs.SetOutput(s.err)
	fs.Usage = func() {
		fmt.Fprintf(s.err, "Usage: probe %s %s\n\n%s\n", a.name, a.args, a.short)
		fs.PrintDefaults()
	}
	return a.run(ctx, s, fs, args)
}

func code(ctx context.Context, s streams, a applet, err error) int {
	var (
		status exit
		wrong  usage
		sig    caught
	)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(context.Cause(ctx), &sig): // first: whatever failed failed for it
		return 128 + int(sig.sig)
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &wrong):
		fmt.Fprintf(s.err, "probe %s: %s\nUsage: probe %s %s\n", a.name, wrong, a.name, a.args)
		return codeUsage
	}
	fmt.Fprintf(s.err, "probe %s: %v\n", a.name, err)
	return 1
}

// parse reads flags and checks how many arguments are left.
func parse(fs *flag.FlagSet, args []string, least, most int) ([]string, error) {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, exit(codeUsage) // the flag set has said why
	}
	rest := fs.Args()
	switch {
	case len(rest) < least:
		return nil, usage("an argument is missing")
	case most >= 0 && len(rest) > most:
		return nil, usage("too many arguments: " + strings.Join(rest[most:], " "))
	}
	return rest, nil
}

func help() string {
	var b strings.Builder
	b.WriteString("Usage: probe [APPLET] [ARGUMENTS]\n\nApplets:\n")
	for _, a := range applets() {
		fmt.Fprintf(&b, "  %-30s %s\n", strings.TrimSpace(a.name+" "+a.args), a.short)
	}
	b.WriteString("\n`probe APPLET --help` lists an applet's options.\n")
	return b.String()
}
