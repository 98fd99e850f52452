package guarded

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weft/commands/cluster"
	"weft/commands/cmdenv"
	"weft/wizard"
	"weft/wizard/flows/ingress"
)

// Exit codes of guarded workflows, besides done (0) and error (1).
const (
	CodeRefused    = 10 // a check has found that it can't be done
	CodeDeclined   = 11 // not agreed to; nothing was changed
	CodeRolledBack = 12 // it failed, and all is as before
	CodeOpen       = 13 // to be resumed or rolled back
)

// ExitCodes ends the help of a command that may carry out a plan.
const ExitCodes = "\n\nExit codes: 0 done, 10 refused by a check, 11 not agreed to, 12 failed and rolled back,\n" +
	"13 left open (go on with `weft workflow`), 1 any other error, 125 wrong usage."

// Options are the flags of a command that may carry out a plan.
type Options struct {
	Yes      bool
	Accept   []string
	JSON     bool
	Stay     bool
	TakeOver string
	Contexts []string // NODE=CONTEXT
	Patience time.Duration
	Plain    bool // ask line by line

	given []string // those flags that say how, and not what, as words
}

// Bind adds the flags.
func (o *Options) Bind(flags *pflag.FlagSet) {
	o.BindForward(flags)
	flags.BoolVarP(&o.Yes, "yes", "y", false, "Carry the plan out without asking; hazards are accepted by --accept")
	flags.StringSliceVar(&o.Accept, "accept", nil, "Accept a hazard of the plan by its name")
}

// BindForward adds those flags that an agreed run needs.
func (o *Options) BindForward(flags *pflag.FlagSet) {
	o.BindBackward(flags)
	flags.BoolVar(&o.Stay, "no-rollback", false, "Leave the run open when a step fails, instead of rolling back")
}

// BindEnd adds those flags that ending a run where it is needs.
func (o *Options) BindEnd(flags *pflag.FlagSet) {
	flags.BoolVar(&o.JSON, "json", false, "Print one event per line, as JSON")
	flags.StringVar(&o.TakeOver, "take-over", "", "Take the cluster's lock from this run, which must have died")
}

// BindBackward adds those flags that taking a run back needs.
func (o *Options) BindBackward(flags *pflag.FlagSet) {
	o.BindEnd(flags)
	flags.StringSliceVar(&o.Contexts, "node-context", nil, "How to ask a node itself: NODE=CONTEXT or NODE=HOST, as ssh://web1")
	flags.DurationVar(&o.Patience, "patience", 5*time.Minute, "How long one wait for the swarm may take")
}

// Session is what commands of guarded workflows work with.
type Session struct {
	Env   *cmdenv.Env
	Opts  *Options
	Lock  *cluster.Lock
	Store *wizard.Store
	swarm ingress.Swarm
}

// Open connects to the swarm.
func Open(ctx context.Context, env *cmdenv.Env, o *Options) (*Session, error) {
	api, err := env.Raw(ctx)
	if err != nil {
		return nil, err
	}
	nodes := cluster.Nodes{}
	for _, pair := range o.Contexts {
		name, where, found := strings.Cut(pair, "=")
		if !found || name == "" || where == "" {
			return nil, fmt.Errorf("--node-context %s: give NODE=CONTEXT or NODE=HOST", pair)
		}
		if nodes[name], err = env.RawAt(ctx, where); err != nil {
			return nil, fmt.Errorf("--node-context %s: %w", pair, err)
		}
	}
	manager := &cluster.Manager{API: api, Timeout: cluster.RequestTimeout}
	var observer ingress.Observer = manager
	if hostname, err := os.Hostname(); err == nil && api.Local() {
		observer = cluster.Machine{Manager: manager, Hostname: hostname}
	}
	return &Session{
		Env: env, Opts: o, Store: Store(env), Lock: &cluster.Lock{Manager: manager, TakeOver: o.TakeOver},
		swarm: ingress.Swarm{
			Observer: observer, Changer: manager, Nodes: nodes, Prober: cluster.Dialer{Dial: env.Dial},
			Now: env.Now, Sleep: env.Sleep, Patience: o.Patience,
		},
	}, nil
}

// Flow gives the workflow of a kind.
func (s *Session) Flow(kind string) (wizard.Flow, error) {
	switch kind {
	case ingress.Flow:
		return &ingress.Customise{Swarm: s.swarm}, nil
	case ingress.RepairFlow:
		return &ingress.Repair{Swarm: s.swarm}, nil
	}
	return nil, fmt.Errorf("this weft knows no workflow %q; a newer one may", kind)
}

// Store gives the journals of this user on this machine.
func Store(env *cmdenv.Env) *wizard.Store {
	dir := env.Getenv("XDG_STATE_HOME")
	switch {
	case dir != "":
		dir = filepath.Join(dir, "weft")
	case os.Geteuid() == 0:
		dir = "/var/lib/weft"
	default:
		dir = filepath.Join(env.Getenv("HOME"), ".local", "state", "weft")
	}
	return &wizard.Store{Dir: filepath.Join(dir, "runs"), Now: env.Now}
}

// runner gives a runner for a flow that tells what happens to report.
func (s *Session) runner(flow wizard.Flow, report func(wizard.Event)) *wizard.Runner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return &wizard.Runner{
		Flow: flow, Lock: s.Lock, Store: s.Store, Host: host, User: name,
		Report: report, Sleep: s.Env.Sleep, Stay: s.Opts.Stay,
	}
}
