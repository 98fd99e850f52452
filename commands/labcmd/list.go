package labcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/lab"
)

// row is one host as `ls --json` prints it.
type row struct {
	Lab     string   `json:"lab"`
	Host    string   `json:"host"`
	Addr    string   `json:"addr"`
	Addr6   string   `json:"addr6"`
	Engine  string   `json:"engine"`
	PID     int      `json:"pid,omitempty"`
	CutFrom []string `json:"cut_from,omitempty"`
	Socket  string   `json:"socket,omitempty"`
	Log     string   `json:"log"`
	DataDir string   `json:"data_dir"`
}

func newList(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List hosts, their addresses, engines and partitions",
		Args:    cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := p.labs(cmd.Flags().Changed("name"))
			if err != nil {
				return err
			}
			return list(cmd.Context(), env, labs, asJSON)
		},
	}
	p.bind(cmd, env)
	name := cmd.Flags().Lookup("name")
	name.DefValue, name.Usage = "", "Name of the lab (default all)"
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a JSON array")
	return cmd
}

// labs gives one lab, or all.
func (p *place) labs(one bool) ([]*lab.Lab, error) {
	names := []string{p.name}
	if !one {
		var err error
		if names, err = lab.List(p.stateDir); err != nil {
			return nil, err
		}
	}
	var labs []*lab.Lab
	for _, name := range names {
		l, err := lab.Open(p.stateDir, name, p.self)
		if err != nil {
			return nil, err
		}
		labs = append(labs, l)
	}
	return labs, nil
}

// list prints the hosts of labs. A lab that exists only half way is told about
// and does not hide the others.
func list(ctx context.Context, env *cmdenv.Env, labs []*lab.Lab, asJSON bool) error {
	rows := []row{}
	var broken []error
	for _, l := range labs {
		hosts, err := l.Status(ctx)
		if errdefs.IsConflict(err) {
			broken = append(broken, err)
			continue
		}
		if err != nil {
			return err
		}
		for _, h := range hosts {
			rows = append(rows, row{
				Lab: l.Name, Host: h.Name, Addr: h.Addr.Addr().String(), Addr6: h.Addr6.Addr().String(),
				Engine: h.Engine, PID: h.PID, CutFrom: h.CutFrom, Socket: h.Socket(), Log: h.LogPath(), DataDir: h.DataDir(),
			})
		}
	}
	var err error
	if asJSON {
		enc := json.NewEncoder(env.Out)
		enc.SetIndent("", "  ")
		err = enc.Encode(rows)
	} else {
		err = table(env, rows)
	}
	return errors.Join(append(broken, err)...)
}

func table(env *cmdenv.Env, rows []row) error {
	w := tabwriter.NewWriter(env.Out, 0, 8, 2, ' ', 0)
	line := func(columns ...string) {
		fmt.Fprintln(w, strings.Join(columns, "\t"))
	}
	line("LAB", "HOST", "ADDRESS", "IPV6 ADDRESS", "ENGINE", "PID", "CUT FROM")
	for _, r := range rows {
		pid := "-"
		if r.PID != 0 {
			pid = strconv.Itoa(r.PID)
		}
		line(r.Lab, r.Host, r.Addr, r.Addr6, r.Engine, pid, strings.Join(r.CutFrom, ","))
	}
	return w.Flush()
}
