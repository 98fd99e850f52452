package guarded

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"weft/wizard"
)

// Show prints a plan: for people on Out, or as one JSON line.
func (s *Session) Show(p *wizard.Plan) error {
	if !s.Opts.JSON {
		return WritePlan(s.Env.Out, p)
	}
	return json.NewEncoder(s.Env.Out).Encode(struct {
		Type string       `json:"type"`
		Plan *wizard.Plan `json:"plan"`
	}{"plan", p})
}

// WritePlan prints a plan as a page of text.
func WritePlan(out io.Writer, p *wizard.Plan) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n  %s\n\nSteps\n", p.Title, p.Command)
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "  %2d. %s\n", i+1, step.Title)
		if step.Interrupts != "" {
			fmt.Fprintf(&b, "      interrupts: %s\n", step.Interrupts)
		}
	}
	if len(p.Findings) > 0 {
		b.WriteString("\nFindings\n")
	}
	for _, f := range p.Findings {
		fmt.Fprintf(&b, "  %s %s: %s\n", f.Severity, f.Code, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      fix: %s\n", f.Fix)
		}
	}
	if len(p.Hazards) > 0 {
		b.WriteString("\nHazards\n")
	}
	for _, h := range p.Hazards {
		fmt.Fprintf(&b, "  %s: %s\n", h.Name, h.Text)
	}
	writeList(&b, "What can't be kept", p.Losses)
	writeList(&b, "Notes", p.Notes)
	_, err := io.WriteString(out, b.String()+"\n")
	return err
}

func writeList(b *strings.Builder, title string, list []string) {
	if len(list) > 0 {
		fmt.Fprintf(b, "\n%s\n", title)
	}
	for _, text := range list {
		fmt.Fprintf(b, "  - %s\n", text)
	}
}

// report prints one event. A line that can't be written is lost: the run goes
// on, and its journal has all that matters.
func (s *Session) report(e wizard.Event) {
	if s.Opts.JSON {
		_ = json.NewEncoder(s.Env.Out).Encode(e) //nolint:errchkjson // plain values
		return
	}
	if text := line(e); text != "" {
		fmt.Fprintln(s.Env.Out, text)
	}
}

func line(e wizard.Event) string {
	text := e.Text
	if e.Subject != "" {
		text = e.Subject + ": " + text
	}
	switch e.Type {
	case wizard.StepBegins:
		return "-> " + text
	case wizard.UndoBegins:
		return "<- undo: " + text
	case wizard.StepFails, wizard.UndoFails:
		return "   failed: " + text
	case wizard.StepRetry:
		return "   again, after: " + text
	case wizard.GoesBack:
		return "\nRolling back (" + text + ")"
	case wizard.Progresses, wizard.Notes:
		return "   " + text
	case wizard.Ends:
		if e.Outcome == wizard.ResultDone {
			return "\nDone: run " + e.Run
		}
		return ""
	default: // the next step's begin says it
		return ""
	}
}
