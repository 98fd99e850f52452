package workflow

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
	"weft/wizard"
)

func newRemove(env *cmdenv.Env) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] RUN [RUN...]",
		Aliases: []string{"remove"},
		Short:   "Forget runs that are over",
		Args:    cmdenv.MinArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store := guarded.Store(env)
			var errs []error
			for _, ref := range args {
				id, err := remove(store, ref, force)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(env.Out, id)
			}
			return errors.Join(errs...)
		},
		ValidArgsFunction: complete(env),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Forget also runs whose journal is damaged")
	return cmd
}

func remove(store *wizard.Store, ref string, force bool) (id string, err error) {
	r, err := load(store, ref)
	if damaged := (*wizard.DamagedRunError)(nil); force && errors.As(err, &damaged) {
		return damaged.Known.ID, store.RemoveDamaged(damaged.Known.ID)
	}
	if err != nil {
		return "", err
	}
	return r.ID, store.Remove(r.ID)
}
