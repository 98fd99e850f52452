package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
	"weft/wizard"
)

func newShow(env *cmdenv.Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [OPTIONS] RUN",
		Short: "Show the plan of a run and how far it has come",
		Args:  cmdenv.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := load(guarded.Store(env), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(env.Out).Encode(public(&r))
			}
			return write(env.Out, &r)
		},
		ValidArgsFunction: complete(env),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print as JSON")
	return cmd
}

func load(store *wizard.Store, prefix string) (wizard.Run, error) {
	id, err := store.Find(prefix)
	if err != nil {
		return wizard.Run{}, err
	}
	r, err := store.Load(id)
	if damaged := (*wizard.DamagedRunError)(nil); errors.As(err, &damaged) {
		err = cmdenv.WithHint(err, fmt.Sprintf("It can't be gone on with. See how the swarm is with `weft ingress show`, mend it with\n"+
			"`weft ingress repair --take-over %[1]s`, and forget the run with `weft workflow rm --force %[1]s`.", id))
	}
	return r, err
}

// view is a run without its secrets.
type view struct {
	ID      string        `json:"id"`
	Status  wizard.Result `json:"status"`
	Back    bool          `json:"back,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Started time.Time     `json:"started"`
	Updated time.Time     `json:"updated"`
	Steps   []stepView    `json:"steps"`
	Notes   []wizard.Note `json:"notes,omitempty"`
	Plan    *wizard.Plan  `json:"plan"`
}

type stepView struct {
	wizard.Planned
	Phase string `json:"phase"`
}

func public(r *wizard.Run) view {
	v := view{ID: r.ID, Status: r.Result, Back: r.Back, Reason: r.Reason, Started: r.Started, Updated: r.Updated, Notes: r.Notes, Plan: &r.Plan}
	for _, step := range r.Plan.Steps {
		v.Steps = append(v.Steps, stepView{step, phase(r.Phases[step.ID])})
	}
	return v
}

func phase(p wizard.Phase) string {
	return map[wizard.Phase]string{
		wizard.Untouched: "to do", wizard.Begun: "begun", wizard.Ended: "done", wizard.UndoBegun: "being undone", wizard.Undone: "undone",
	}[p]
}

func write(out io.Writer, r *wizard.Run) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Run:      %s\nStatus:   %s\nStarted:  %s\nUpdated:  %s\n", r.ID, status(r), r.Started.Format(time.RFC3339), r.Updated.Format(time.RFC3339))
	if r.Reason != "" {
		fmt.Fprintf(&b, "Reason:   %s\n", r.Reason)
	}
	fmt.Fprintf(&b, "\n%s\n\n  %s\n\n", r.Plan.Title, r.Plan.Command)
	for _, step := range r.Plan.Steps {
		fmt.Fprintf(&b, "  %-12s  %s\n", phase(r.Phases[step.ID]), step.Title)
	}
	for i, n := range r.Notes {
		if i == 0 {
			b.WriteString("\nReport\n")
		}
		fmt.Fprintf(&b, "  %s: %s\n", n.Subject, n.Text)
	}
	if r.Open() {
		fmt.Fprintf(&b, "\nGo on with:    weft workflow resume %[1]s\nTake it back:  weft workflow rollback %[1]s\n", r.ID)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
