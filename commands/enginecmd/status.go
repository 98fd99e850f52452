package enginecmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine"
)

// status is what `engine status` prints, also as JSON.
type status struct {
	Running bool             `json:"running"`
	RunDir  string           `json:"run_dir"`
	Engine  *engine.Instance `json:"engine,omitempty"`
	Swarm   *swarm.Info      `json:"swarm,omitempty"`
	// Counts of this node.
	Containers int `json:"containers"`
	Up         int `json:"containers_running"`
}

func newStatus(env *cmdenv.Env) *cobra.Command {
	var runDir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Show whether the engine runs, and what it does; fails when it does not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := look(cmd.Context(), runDir)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(env.Out).Encode(st)
			} else if st.Running {
				err = st.write(env.Out, env.Now())
			}
			if err == nil && !st.Running {
				return fmt.Errorf("no engine runs with --run-dir %s: start it with `weft engine start`", runDir)
			}
			return err
		},
	}
	addRunDir(cmd, env, &runDir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print one JSON object")
	return cmd
}

// look finds the engine by its run directory and asks it for the rest.
func look(ctx context.Context, runDir string) (status, error) {
	st := status{RunDir: runDir}
	in, running, err := engine.Running(runDir)
	if err != nil || !running {
		return st, err
	}
	st.Running, st.Engine = true, &in
	if len(in.Listen) == 0 {
		return st, errors.New("the engine is still starting")
	}
	info, err := fetchInfo(ctx, strings.TrimPrefix(in.Listen[0], "unix://"))
	if err != nil {
		return st, fmt.Errorf("the engine (pid %d) holds %s but does not answer: %w", in.Pid, runDir, err)
	}
	st.Swarm, st.Containers, st.Up = &info.Swarm, info.Containers, info.ContainersRunning
	return st, nil
}

// fetchInfo asks one socket, whatever engine the environment names.
func fetchInfo(ctx context.Context, socket string) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	var info system.Info
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weft/info", http.NoBody)
	if err != nil {
		return info, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return info, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return info, fmt.Errorf("%s answers /info with %s", socket, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&info); err != nil {
		return info, fmt.Errorf("read the answer: %w", err)
	}
	return info, nil
}

func (st status) write(out io.Writer, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s:\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("Engine", "running for %s (pid %d)", units.HumanDuration(now.Sub(st.Engine.Started)), st.Engine.Pid)
	row("Version", "%s", st.Engine.Version)
	row("Socket", "%s", strings.Join(st.Engine.Listen, ", "))
	row("Data", "%s", st.Engine.DataDir)
	row("Containers", "%d running, %d in all", st.Up, st.Containers)
	row("Swarm", "%s", swarmLine(st.Swarm))
	if st.Swarm.Error != "" {
		row("Error", "%s", st.Swarm.Error)
	}
	return w.Flush()
}

func swarmLine(s *swarm.Info) string {
	if s.LocalNodeState != swarm.LocalNodeStateActive {
		return string(s.LocalNodeState)
	}
	role := "worker"
	if s.ControlAvailable {
		role = "manager of 1 node"
		if s.Nodes != 1 {
			role = fmt.Sprintf("manager of %d nodes", s.Nodes)
		}
	}
	return fmt.Sprintf("active (%s), node %s at %s", role, s.NodeID, s.NodeAddr)
}
