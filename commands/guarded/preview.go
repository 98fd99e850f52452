package guarded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"weft/wizard"
)

// Preview are the flags of a command that can show its plan, or keep it, and
// change nothing.
type Preview struct {
	DryRun bool
	File   string // to write the plan to
}

// Bind adds the flags.
func (p *Preview) Bind(flags *pflag.FlagSet) {
	flags.BoolVar(&p.DryRun, "dry-run", false, "Show the plan and change nothing")
	flags.StringVar(&p.File, "plan", "", "Write the plan to this `file` for weft workflow apply, and change nothing")
}

// Carry carries a draft out, unless it is only to be shown or kept.
func (p *Preview) Carry(ctx context.Context, s *Session, flow wizard.Flow, d wizard.Draft) error {
	if !p.DryRun && p.File == "" {
		return s.Carry(ctx, flow, d)
	}
	if err := s.Show(&d.Plan); err != nil {
		return err
	}
	if err := Refusal(&d.Plan); err != nil || p.File == "" {
		return err
	}
	return keep(&d.Plan, p.File)
}

// keep writes a plan to a file.
func keep(p *wizard.Plan, path string) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) //nolint:gosec // to be reviewed by others; no secrets in it
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}
