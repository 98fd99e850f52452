package workflow

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
)

func newRemove(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "rm RUN [RUN...]",
		Aliases: []string{"remove"},
		Short:   "Forget runs that are over",
		Args:    cmdenv.MinArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store := guarded.Store(env)
			var errs []error
			for _, ref := range args {
				r, err := load(store, ref)
				if err == nil {
					err = store.Remove(r.ID)
				}
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(env.Out, r.ID)
			}
			return errors.Join(errs...)
		},
		ValidArgsFunction: complete(env),
	}
}
