package mesh

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
	"weft/engine/model"
)

func newTrace(env *cmdenv.Env) *cobra.Command {
	var from, to, format string
	cmd := &cobra.Command{
		Use:   "trace [OPTIONS] PORT[/PROTOCOL]",
		Short: "Follow a client's packet to a published port through this host's kernel, and try its tasks",
		Args:  cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parsePort(args[0])
			if err != nil {
				return err
			}
			query := url.Values{}
			for flag, value := range map[string]string{"from": from, "to": to} {
				if value == "" {
					continue
				}
				if _, err := netip.ParseAddr(value); err != nil {
					return fmt.Errorf("--%s %q is no IP address", flag, value)
				}
				query.Set(flag, value)
			}
			s, err := look(cmd.Context(), env)
			if err != nil {
				return err
			}
			var t model.MeshTrace
			route := fmt.Sprintf("/mesh/%s/%d/trace", r.protocol(s.Ports), r.number)
			if err := get(cmd.Context(), s.api, route, query, &t); err != nil {
				return err
			}
			if err := s.printTrace(env.Out, t, format); err != nil {
				return err
			}
			return broken(t)
		},
		ValidArgsFunction: complete(env),
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "The client's address")
	flags.StringVar(&to, "to", "", "The address of this host that the client asks")
	flags.StringVarP(&format, "format", "f", "", render.InspectFormatHelp)
	return cmd
}

// broken is the exit code of a way that does not lead to a task, or that is not
// as it was written.
func broken(t model.MeshTrace) error {
	leads := slices.ContainsFunc(t.Steps, func(s model.MeshStep) bool { return s.OK && s.Place == "task" })
	changed := slices.ContainsFunc(t.Steps, func(s model.MeshStep) bool { return s.Place == model.PlaceKernel })
	if leads && !changed {
		return nil
	}
	return cmdenv.StatusError{Code: 1}
}

func (s *seen) printTrace(out io.Writer, t model.MeshTrace, format string) error {
	if format != "" {
		raw, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("write as JSON: %w", err)
		}
		return render.Inspect(out, []string{t.Port}, format, func(string) (any, []byte, error) { return t, raw, nil })
	}
	var b strings.Builder
	for _, step := range t.Steps {
		mark := "->"
		if !step.OK {
			mark = "X "
		}
		fmt.Fprintf(&b, "%s %-16s %s\n", mark, step.Place, step.What)
	}
	if len(t.Tries) > 0 {
		b.WriteString("Tried from here:\n")
	}
	for _, try := range t.Tries {
		result := "answers, after " + try.After.Round(10*time.Microsecond).String()
		if try.Error != "" {
			result = try.Error
		}
		fmt.Fprintf(&b, "   %-16s %s: %s\n", shortTask(try.Task), try.Addr, result)
	}
	if len(t.Flows) > 0 {
		fmt.Fprintf(&b, "Flows at present: %d\n", len(t.Flows))
	}
	for i, f := range t.Flows {
		if i == maxFlows {
			fmt.Fprintf(&b, "   and %d more: --from ADDRESS shows a client's, --format json all\n", len(t.Flows)-maxFlows)
			break
		}
		fmt.Fprintf(&b, "   %s -> %s %s", f.Client, shortTask(f.Task), f.Addr)
		if f.State != "" {
			b.WriteString(", " + f.State)
		}
		fmt.Fprintf(&b, ", forgotten in %s\n", f.Left)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// maxFlows is how many are shown to people.
const maxFlows = 20
