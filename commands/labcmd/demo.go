package labcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/lab"
)

// demoHosts is the number of hosts the demonstration has. The last one dies.
const demoHosts = 3

func newDemo(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo [OPTIONS]",
		Short: "Show a swarm, an overlay network and the death of a host, in a lab of its own",
		Long: "Show in a lab of its own: three hosts, a swarm, an overlay network, a service and containers on it that\n" +
			"reach each other across hosts, a host that dies, its tasks that come back elsewhere. Everything is\n" +
			"removed afterwards, also when interrupted. The commands are the ones anybody would type.",
		Args: cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), env, p, keep) },
	}
	p.bind(cmd, env)
	name := cmd.Flags().Lookup("name")
	name.DefValue, p.name = "demo", "demo"
	cmd.Flags().BoolVar(&keep, "keep", false, "Leave the lab up afterwards")
	return cmd
}

// demo is a demonstration under way.
type demo struct {
	place
	env   *cmdenv.Env
	start time.Time
	color bool
	step  int
}

// runDemo plays all scenes and removes the lab, whatever happened.
func runDemo(ctx context.Context, env *cmdenv.Env, p place, keep bool) (err error) {
	if err := lab.RequireRoot(); err != nil {
		return err
	}
	if _, err := lab.Open(p.stateDir, p.name, p.self); err == nil {
		return fmt.Errorf("lab %s exists already: remove it with `weft lab down --name %[1]s`, or choose another --name", p.name)
	}
	ctx, stop := untilHangup(ctx)
	defer stop()
	d := &demo{
		place: p, env: env, start: env.Now(),
		color: cmdenv.TerminalOf(env.Out).IsTTY && env.Getenv("NO_COLOR") == "",
	}
	err = d.play(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the scene it interrupted is not the story
	}
	if keep && err == nil {
		return d.say("\nThe lab stays up. Look around with `weft lab shell --name %s host1`, remove it with `weft lab down --name %[1]s`.\n", p.name)
	}
	return errors.Join(err, d.clearAway(context.WithoutCancel(ctx), err == nil))
}

// untilHangup gives a context that ends also when the terminal goes away,
// which would otherwise end this process at once. So would a write to a pipe
// nobody reads any more: that becomes an error of the write.
func untilHangup(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	hangup, pipe := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	signal.Notify(pipe, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-hangup:
			cancel(cmdenv.StatusError{Code: 128 + int(syscall.SIGHUP)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		signal.Stop(hangup)
		signal.Stop(pipe)
	}
}

func (d *demo) clearAway(ctx context.Context, done bool) error {
	l, err := lab.Open(d.stateDir, d.name, d.self)
	if err != nil {
		return nil //nolint:nilerr // `lab up` failed and has undone itself
	}
	if done {
		err = d.scene("Remove the lab: nothing is left")
	}
	if err := l.Down(ctx); err != nil {
		return err
	}
	if !done || err != nil {
		return err
	}
	return d.say("\nDone in %s.\n", d.env.Now().Sub(d.start).Round(time.Second))
}

// scene prints the title of what comes next.
func (d *demo) scene(title string) error {
	d.step++
	before, after := "", ""
	if d.color {
		before, after = "\x1b[1;36m", "\x1b[0m"
	}
	return d.say("\n%s%d. %s%s\n", before, d.step, title, after)
}

func (d *demo) say(format string, args ...any) error {
	_, err := fmt.Fprintf(d.env.Out, format, args...)
	return err
}

// on runs weft on a host, showing the command and what it prints.
func (d *demo) on(ctx context.Context, host string, args ...string) error {
	return d.show(ctx, host, "weft "+strings.Join(args, " "), args)
}

// show is on for a command line that reads better in other words than args.
func (d *demo) show(ctx context.Context, host, line string, args []string) error {
	before, after := "", ""
	if d.color {
		before, after = "\x1b[1m", "\x1b[0m"
	}
	if err := d.say("%s%s$ %s%s\n", before, host, line, after); err != nil {
		return err
	}
	return d.weft(ctx, host, d.env.Out, args...)
}

// ask runs weft on a host and gives what it prints, without showing anything.
func (d *demo) ask(ctx context.Context, host string, args ...string) (string, error) {
	var out bytes.Buffer
	err := d.weft(ctx, host, &out, args...)
	return strings.TrimSpace(out.String()), err
}

// weft runs weft on a host; an empty one is this machine.
func (d *demo) weft(ctx context.Context, host string, out io.Writer, args ...string) error {
	var errOut bytes.Buffer
	var err error
	if host == "" {
		cmd := exec.CommandContext(ctx, d.self, args...) //nolint:gosec // this very binary
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.Stdout, cmd.Stderr = out, &errOut
		err = cmd.Run()
	} else {
		var l *lab.Lab
		if l, err = d.open(); err != nil {
			return err
		}
		err = l.Exec(ctx, host, lab.Process{Args: append([]string{d.self}, args...), Env: lab.HostEnv(os.Environ()), Out: out, Err: &errOut})
	}
	if err == nil {
		return nil
	}
	if host != "" {
		host += ": "
	}
	if text := strings.TrimSpace(errOut.String()); text != "" {
		err = errors.New(text)
	}
	return fmt.Errorf("%sweft %s: %w", host, strings.Join(args, " "), err)
}

// await asks until done, for at most limit.
func (d *demo) await(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s: %s", limit, what))
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
