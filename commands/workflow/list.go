package workflow

import (
	"fmt"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
	"weft/commands/render"
	"weft/wizard"
)

// row is a run as lists show it.
type row struct {
	ID, Workflow, Status, Started, Step string
}

func newList(env *cmdenv.Env) *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List the runs started on this machine",
		Args:    cmdenv.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			runs, damaged := guarded.Store(env).Runs()
			var rows []row
			for _, r := range runs {
				rows = append(rows, row{r.ID, r.Plan.Flow, status(&r), render.Ago(env.Now(), r.Started) + " ago", fmt.Sprintf("%d/%d", r.InForce(), len(r.Plan.Steps))})
			}
			list := render.List[row]{
				Headers: render.Headers{"ID": "RUN", "Workflow": "WORKFLOW", "Status": "STATUS", "Started": "STARTED", "Step": "STEPS"},
				Table:   "{{.ID}}\t{{.Workflow}}\t{{.Status}}\t{{.Step}}\t{{.Started}}",
			}
			if err := list.Write(env.Out, format, quiet, rows); err != nil {
				return err
			}
			return damaged
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display IDs")
	cmd.Flags().StringVar(&format, "format", "", render.FormatHelp)
	return cmd
}

func status(r *wizard.Run) string {
	if r.Open() && r.Back {
		return "open, going back"
	}
	return string(r.Result)
}
