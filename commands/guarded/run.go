package guarded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"weft/commands/cmdenv"
	"weft/wizard"
)

// Carry shows a plan, has it agreed to and carries it out. What comes of it is
// the exit code.
func (s *Session) Carry(ctx context.Context, flow wizard.Flow, d wizard.Draft) error {
	if err := s.Show(&d.Plan); err != nil {
		return err
	}
	if err := Refusal(&d.Plan); err != nil {
		return err
	}
	if err := s.agree(ctx, &d.Plan); err != nil {
		return err
	}
	out, err := s.runner(flow, s.report).Start(ctx, d)
	return s.end(ctx, out, err)
}

// Refusal is the error of a plan that can't be carried out, nil for others.
func Refusal(p *wizard.Plan) error {
	if n := len(p.Blockers()); n > 0 {
		return cmdenv.StatusError{Code: CodeRefused, Status: fmt.Sprintf("refused: %d of the findings above must be mended first; nothing was changed", n)}
	}
	return nil
}

// agree asks for each hazard and for the plan, as far as flags have not said so
// already.
func (s *Session) agree(ctx context.Context, p *wizard.Plan) error {
	open := p.Unaccepted(s.Opts.Accept)
	if s.Opts.JSON || !s.Opts.Plain && !s.Env.Interactive() {
		if len(open) > 0 {
			return declined("not accepted: %s; nothing was changed", "--accept="+names(open))
		}
		if !s.Opts.Yes {
			return declined("there is no terminal to ask on, and no --yes; nothing was changed")
		}
		return nil
	}
	for _, h := range open {
		yes, err := s.accept(ctx, h)
		if err != nil {
			return err
		}
		if !yes {
			return declined("%s was not accepted; nothing was changed", h.Name)
		}
	}
	if s.Opts.Yes {
		return nil
	}
	yes, err := s.Env.Confirm(ctx, "Carry out this plan?")
	if err != nil {
		return err
	}
	if !yes {
		return declined("declined; nothing was changed")
	}
	return nil
}

func (s *Session) accept(ctx context.Context, h wizard.Hazard) (bool, error) {
	if h.Word == "" {
		return s.Env.Confirm(ctx, h.Text+". Accept?")
	}
	answer, err := s.Env.Ask(ctx, fmt.Sprintf("%s.\nType %s to accept: ", h.Text, h.Word))
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return answer == h.Word, err
}

func names(list []wizard.Hazard) string {
	var words []string
	for _, h := range list {
		words = append(words, h.Name)
	}
	return strings.Join(words, ",")
}

func declined(format string, args ...any) error {
	return cmdenv.StatusError{Code: CodeDeclined, Status: fmt.Sprintf(format, args...)}
}

// Resume goes on with an open run.
func (s *Session) Resume(ctx context.Context, id string) error {
	return s.again(ctx, id, (*wizard.Runner).Resume)
}

// Rollback takes an open run back. That is what was asked for, and no failure.
func (s *Session) Rollback(ctx context.Context, id string) error {
	out, err := s.takeUp(ctx, id, s.report, (*wizard.Runner).Rollback)
	if err != nil || out.Result != wizard.ResultRolledBack {
		return s.end(ctx, out, err)
	}
	if !s.Opts.JSON {
		fmt.Fprintf(s.Env.Out, "\nRolled back: run %s, all is as before\n", id)
	}
	return nil
}

// Abort ends an open run where it is.
func (s *Session) Abort(ctx context.Context, id string) error {
	return s.again(ctx, id, (*wizard.Runner).Abort)
}

func (s *Session) again(ctx context.Context, id string, do func(*wizard.Runner, context.Context, string) (wizard.Outcome, error)) error {
	out, err := s.takeUp(ctx, id, s.report, do)
	return s.end(ctx, out, err)
}

// takeUp has a runner work on an open run of this cluster.
func (s *Session) takeUp(ctx context.Context, id string, report func(wizard.Event), do func(*wizard.Runner, context.Context, string) (wizard.Outcome, error)) (wizard.Outcome, error) {
	run, err := s.Store.Load(id)
	if err != nil {
		return wizard.Outcome{}, err
	}
	flow, err := s.Flow(run.Plan.Flow)
	if err != nil {
		return wizard.Outcome{}, err
	}
	if err := s.sameCluster(ctx, &run.Plan); err != nil {
		return wizard.Outcome{}, err
	}
	return do(s.runner(flow, report), ctx, id)
}

// sameCluster refuses to apply what was planned for another swarm.
func (s *Session) sameCluster(ctx context.Context, p *wizard.Plan) error {
	w, err := s.Lock.Manager.Observe(ctx)
	if err != nil {
		return err
	}
	if w.Cluster != p.Cluster {
		return fmt.Errorf("this is for the swarm %s, and the engine that answers is of %q: name a manager of that swarm with --host or --context", p.Cluster, w.Cluster)
	}
	return nil
}

// end turns an outcome into what the process ends with.
func (s *Session) end(ctx context.Context, out wizard.Outcome, err error) error {
	if over := (*wizard.OverError)(nil); errors.As(err, &over) || err != nil && out.Result == "" {
		return err
	}
	text := ""
	if out.Err != nil {
		text = out.Err.Error()
	}
	var result error
	switch out.Result {
	case wizard.ResultDone, wizard.ResultAborted:
	case wizard.ResultRefused:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		result = cmdenv.StatusError{Code: CodeRefused, Status: "refused: " + text + "; nothing was changed"}
	case wizard.ResultRolledBack:
		result = cmdenv.StatusError{Code: CodeRolledBack, Status: "rolled back, all is as before: " + text}
	case wizard.ResultOpen:
		if ctx.Err() != nil {
			text = "interrupted"
		}
		result = cmdenv.StatusError{Code: CodeOpen, Status: fmt.Sprintf("run %s is open: %s", out.Run, text)}
		result = cmdenv.WithHint(result, fmt.Sprintf("Go on with:    weft workflow resume %[1]s\nTake it back:  weft workflow rollback %[1]s\nLook at it:    weft workflow show %[1]s", out.Run))
	}
	return errors.Join(result, err)
}

// Compare refuses a plan from a file when planning again gives another one.
func Compare(kept, now *wizard.Plan) error {
	if kept.Digest() == now.Digest() {
		return nil
	}
	what := "the steps it needs"
	switch {
	case kept.Cluster != now.Cluster:
		what = fmt.Sprintf("it is for the swarm %s, and this is %s", kept.Cluster, now.Cluster)
	case string(kept.World) != string(now.World):
		what = "the network, the nodes, or the services that publish ports, are not what they were"
	}
	return cmdenv.StatusError{Code: CodeRefused, Status: "refused: the plan no longer holds: " + what + "; plan again. Nothing was changed"}
}
