package guarded

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"weft/tui/guided"
	"weft/wizard"
)

// Form is how a command asks for what its flags would say.
type Form struct {
	Title  string
	Flow   string         // kind of workflow
	Words  []string       // of the command, after the program's name
	Fields []guided.Field // named as the flags
	// Flags gives a fresh set of the command's flags about answers, and the
	// answers that they come to.
	Flags func() (flags *pflag.FlagSet, answers func() (json.RawMessage, error))
}

// answers gives what the flags would come to if they were given these values,
// and the words of the command line that gives them.
func (f *Form) answers(values guided.Values) (words []string, answers json.RawMessage, err error) {
	flags, parse := f.Flags()
	words = slices.Clone(f.Words)
	var errs []error
	for _, field := range f.Fields {
		value := strings.TrimSpace(values[field.Name])
		if value == "" {
			continue
		}
		flag := flags.Lookup(field.Name)
		for _, part := range parts(flag, value) {
			word := []string{"--" + field.Name, part}
			if field.Choices != nil {
				word = []string{"--" + field.Name + "=" + part}
			}
			words = append(words, word...)
			if err := flag.Value.Set(part); err != nil { // flags.Set would wrap it
				errs = append(errs, &wizard.AnswerError{Answer: field.Name, Err: reason(err)})
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return words, nil, err
	}
	answers, err = parse()
	return words, answers, err
}

// parts gives the values for a flag that may be given several times.
func parts(flag *pflag.Flag, value string) []string {
	switch flag.Value.Type() {
	case "list", "map", "stringSlice":
	default:
		return []string{value}
	}
	var list []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// reason leaves out of a flag's error what the form shows anyway.
func reason(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// driver is a guided.Driver over a session.
type driver struct {
	*Session

	form *Form
	flow wizard.Flow

	mu   sync.Mutex  // Try is called while Look is under way
	view wizard.View // nil until Look
}

// Open is part of guided.Driver.
func (d *driver) Open(context.Context) ([]wizard.Run, error) {
	all, err := d.Store.Runs()
	if err != nil && len(all) == 0 {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r wizard.Run) bool { return !r.Open() }), nil
}

// Look is part of guided.Driver.
func (d *driver) Look(ctx context.Context) (guided.Values, error) {
	guide, is := d.flow.(wizard.Guide)
	if !is {
		return guided.Values{}, nil
	}
	view, err := guide.Look(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.view = view
	d.mu.Unlock()
	return view.Present(), nil
}

// Try is part of guided.Driver.
func (d *driver) Try(values guided.Values) guided.Trial {
	words, answers, err := d.form.answers(values)
	trial := guided.Trial{Words: wizard.CommandLine(words...), Remarks: map[string]guided.Remark{}}
	if err != nil {
		blame(trial.Remarks, err)
		return trial
	}
	d.mu.Lock()
	defer d.mu.Unlock() // a view is not safe for concurrent use
	if d.view == nil {
		return trial
	}
	for _, f := range d.view.Review(answers) {
		if old, is := trial.Remarks[f.Answer]; !is || old.Severity != wizard.Blocks && f.Severity == wizard.Blocks {
			trial.Remarks[f.Answer] = guided.Remark{Severity: f.Severity, Text: f.Text, Fix: f.Fix}
		}
	}
	return trial
}

// blame files errors under the answers they are about.
func blame(remarks map[string]guided.Remark, err error) {
	if many, is := err.(interface{ Unwrap() []error }); is {
		for _, err := range many.Unwrap() {
			blame(remarks, err)
		}
		return
	}
	name := ""
	if about := (*wizard.AnswerError)(nil); errors.As(err, &about) {
		name = about.Answer
	}
	if _, is := remarks[name]; !is {
		remarks[name] = guided.Remark{Severity: wizard.Blocks, Text: err.Error()}
	}
}

// Plan is part of guided.Driver.
func (d *driver) Plan(ctx context.Context, values guided.Values) (wizard.Draft, error) {
	_, answers, err := d.form.answers(values)
	if err != nil {
		return wizard.Draft{}, err
	}
	return d.flow.Plan(ctx, answers)
}

// Start is part of guided.Driver.
func (d *driver) Start(ctx context.Context, draft wizard.Draft, report guided.Report) (wizard.Outcome, error) {
	return d.runner(d.flow, report).Start(ctx, draft)
}

// Resume is part of guided.Driver.
func (d *driver) Resume(ctx context.Context, run string, report guided.Report) (wizard.Outcome, error) {
	return d.takeUp(ctx, run, report, (*wizard.Runner).Resume)
}

// Rollback is part of guided.Driver.
func (d *driver) Rollback(ctx context.Context, run string, report guided.Report) (wizard.Outcome, error) {
	return d.takeUp(ctx, run, report, (*wizard.Runner).Rollback)
}

// Command is part of guided.Driver.
func (d *driver) Command(words string) string {
	return wizard.CommandLine(d.Env.Invocation()...) + " " + words
}

// Carry is part of guided.Driver.
func (d *driver) Carry(words string) string {
	return strings.TrimSpace(d.Command(words) + " " + wizard.CommandLine(d.Opts.given...))
}
