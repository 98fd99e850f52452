package guarded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/tui"
	"weft/tui/guided"
	"weft/wizard"
)

// BindLead adds the flags of a command that can lead a person through its
// workflow. It comes after the other flags.
func (o *Options) BindLead(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Plain, "plain", false, "Ask line by line, also where the input is no terminal")
}

// Leads says whether a command is to ask for its answers: there is somebody to
// be asked, and no flag says what to do.
func (o *Options) Leads(env *cmdenv.Env, flags *pflag.FlagSet) bool {
	how := []string{"node-context", "patience", "no-rollback", "take-over", "plain"}
	what := false
	o.given = nil
	flags.Visit(func(f *pflag.Flag) {
		switch {
		case !slices.Contains(how, f.Name):
			what = true
		case f.Name == "plain":
		case f.Name == "node-context":
			for _, c := range o.Contexts {
				o.given = append(o.given, "--"+f.Name+"="+c)
			}
		default:
			o.given = append(o.given, "--"+f.Name+"="+f.Value.String())
		}
	})
	return !what && (o.Plain || env.Interactive())
}

// Lead leads a person through a workflow: by pages where the terminal can show
// them, line by line elsewhere.
func (s *Session) Lead(ctx context.Context, form *Form) error {
	flow, err := s.Flow(form.Flow)
	if err != nil {
		return err
	}
	d := &driver{Session: s, form: form, flow: flow}
	term := s.Env.Getenv("TERM")
	if s.Opts.Plain || term == "dumb" || term == "" {
		return s.leadPlain(ctx, d)
	}
	task := guided.Task{Title: form.Title, Fields: form.Fields, Driver: d}
	ending, err := tui.Run(ctx, tui.Terminal{In: s.Env.In, Out: s.Env.Out, Getenv: s.Env.Getenv}, task)
	switch {
	case err != nil || ending.Err != nil:
		err = errors.Join(err, ending.Err)
	case ctx.Err() != nil && ending.Outcome.Result == "":
		return context.Cause(ctx)
	case ending.Refused:
		return cmdenv.StatusError{Code: CodeRefused, Status: "refused by the checks; nothing was changed"}
	case ending.Outcome.Result == "":
		return declined("left before the plan was agreed to; nothing was changed")
	}
	if ending.Outcome.Result != "" {
		writeOutcome(s.Env.Out, &ending.Outcome)
	}
	return s.end(ctx, ending.Outcome, err)
}

// writeOutcome leaves on the terminal what the pages have shown at the end.
func writeOutcome(out io.Writer, o *wizard.Outcome) {
	for _, n := range o.Notes {
		fmt.Fprintln(out, line(wizard.Event{Type: wizard.Notes, Subject: n.Subject, Text: n.Text}))
	}
	if text := line(wizard.Event{Type: wizard.Ends, Run: o.Run, Outcome: o.Result}); text != "" {
		fmt.Fprintln(out, strings.TrimSpace(text))
	}
}

// leadPlain asks line by line.
func (s *Session) leadPlain(ctx context.Context, d *driver) error {
	fmt.Fprintln(s.Env.Out, d.form.Title)
	done, err := s.openRuns(ctx, d)
	if done || err != nil {
		return over(err)
	}
	values, err := s.askForm(ctx, d)
	if err != nil {
		return over(err)
	}
	draft, err := d.Plan(ctx, values)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Env.Out)
	return s.Carry(ctx, d.flow, draft)
}

// over is what the end of the input means in the middle of the questions.
func over(err error) error {
	if errors.Is(err, io.EOF) {
		return declined("the input ended before the plan was agreed to; nothing was changed")
	}
	return err
}

// openRuns offers the open runs. done: one was taken up.
func (s *Session) openRuns(ctx context.Context, d *driver) (done bool, err error) {
	runs, err := d.Open(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		fmt.Fprintf(s.Env.Out, "\nRun %s is open, with %d of %d steps done: %s\n", r.ID, r.InForce(), len(r.Plan.Steps), r.Plan.Title)
		for asking := true; asking; {
			answer, err := s.Env.Ask(ctx, "r: resume it, b: roll it back, n: begin another [r/b/n] ")
			if err != nil {
				return false, err
			}
			switch strings.ToLower(answer) {
			case "r":
				return true, s.Resume(ctx, r.ID)
			case "b":
				return true, s.Rollback(ctx, r.ID)
			case "n":
				asking = false
			}
		}
	}
	return false, nil
}

// askForm asks for each answer until it is right.
func (s *Session) askForm(ctx context.Context, d *driver) (guided.Values, error) {
	values := guided.Values{}
	present, err := d.Look(ctx)
	if err != nil || len(d.form.Fields) == 0 {
		return values, err
	}
	fmt.Fprintln(s.Env.Out, "\nAn empty answer leaves it as it is.")
	for _, field := range d.form.Fields {
		question := field.Label
		if field.Choices != nil {
			question += " (" + strings.Join(field.Choices[1:], ", ") + ")"
		}
		if is := present[field.Name]; is != "" {
			question += " [" + is + "]"
		}
		for asking := true; asking; {
			if values[field.Name], err = s.Env.Ask(ctx, question+": "); err != nil {
				return nil, err
			}
			asking = s.objects(d.Try(values), field.Name)
		}
	}
	fmt.Fprintf(s.Env.Out, "\n$ %s\n", d.Carry(d.Try(values).Words))
	return values, nil
}

// objects shows what is to be said of an answer, and says whether it can't be.
func (s *Session) objects(trial guided.Trial, name string) bool {
	for _, about := range []string{name, ""} {
		if r, is := trial.Remarks[about]; is {
			fmt.Fprintf(s.Env.Out, "  %s: %s\n", r.Severity, r.Text)
			if r.Fix != "" {
				fmt.Fprintf(s.Env.Out, "      fix: %s\n", r.Fix)
			}
			return r.Severity == wizard.Blocks
		}
	}
	return false
}
