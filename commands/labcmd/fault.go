package labcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/lab"
)

func newPartition(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	cmd := &cobra.Command{
		Use:               "partition [OPTIONS] HOST HOST",
		Short:             "Drop every packet between two hosts",
		Args:              cmdenv.ExactArgs(2),
		ValidArgsFunction: p.hostNames(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := p.open()
			if err != nil {
				return err
			}
			if err := l.Partition(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Out, "%s and %s are cut off from each other\n", args[0], args[1])
			return err
		},
	}
	p.bind(cmd, env)
	return cmd
}

func newHeal(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	cmd := &cobra.Command{
		Use:   "heal [OPTIONS] [HOST HOST]",
		Short: "Mend one partition, or all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return cmdenv.ExactArgs(2)(cmd, args)
		},
		ValidArgsFunction: p.hostNames(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := p.open()
			if err != nil {
				return err
			}
			return heal(cmd.Context(), env, l, args)
		},
	}
	p.bind(cmd, env)
	return cmd
}

func heal(ctx context.Context, env *cmdenv.Env, l *lab.Lab, hosts []string) error {
	var mended []lab.Pair
	var err error
	if len(hosts) == 2 {
		mended = []lab.Pair{{A: hosts[0], B: hosts[1]}}
		err = l.Heal(ctx, hosts[0], hosts[1])
	} else {
		mended, err = l.HealAll(ctx)
	}
	if err != nil {
		return err
	}
	for _, pair := range mended {
		if _, err := fmt.Fprintf(env.Out, "%s and %s reach each other again\n", pair.A, pair.B); err != nil {
			return err
		}
	}
	return nil
}

func newKill(env *cmdenv.Env, self string) *cobra.Command {
	return newPower(env, self, &cobra.Command{
		Use:   "kill [OPTIONS] HOST [HOST...]",
		Short: "Cut the power of hosts; their disks remain",
	}, (*lab.Lab).Kill)
}

func newStart(env *cmdenv.Env, self string) *cobra.Command {
	return newPower(env, self, &cobra.Command{
		Use:   "start [OPTIONS] HOST [HOST...]",
		Short: "Boot hosts again on the disks they have",
	}, (*lab.Lab).Start)
}

// newPower completes a command that does one thing with each host.
func newPower(env *cmdenv.Env, self string, cmd *cobra.Command, do func(*lab.Lab, context.Context, string) error) *cobra.Command {
	p := place{self: self}
	cmd.Args = cmdenv.MinArgs(1)
	cmd.ValidArgsFunction = p.hostNames(1 << 10)
	cmd.RunE = func(cmd *cobra.Command, hosts []string) error {
		l, err := p.open()
		if err != nil {
			return err
		}
		for _, host := range hosts {
			if err := do(l, cmd.Context(), host); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(env.Out, host); err != nil {
				return err
			}
		}
		return nil
	}
	p.bind(cmd, env)
	return cmd
}
