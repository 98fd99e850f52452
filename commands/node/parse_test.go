package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

func text(s *string) string {
	if s == nil {
		return "unset"
	}
	return *s
}

// captured makes each verb write down the options it parsed.
func captured(env *cmdenv.Env, got *string) *cobra.Command {
	say := func(format string, args ...any) error {
		*got = fmt.Sprintf(format, args...)
		return nil
	}
	cmd := &cobra.Command{Use: "node", SilenceErrors: true, SilenceUsage: true}
	cmd.AddCommand(
		newInspect(env, func(o *inspectOptions) error { return say("%v format=%q", o.nodes, o.format) }),
		newList(env, func(o *listOptions) error {
			return say("quiet=%t format=%q filter=%s", o.quiet, o.format, o.filter.String())
		}),
		newPs(env, func(o *psOptions) error {
			return say("%v resolve=%t full=%t quiet=%t format=%q filter=%s", o.nodes, !o.noResolve, o.noTrunc, o.quiet, o.format, o.filter.String())
		}),
		newRemove(env, func(o *removeOptions) error { return say("%v force=%t", o.nodes, o.force) }),
		newUpdate(env, func(o *updateOptions) error {
			return say("%s role=%s availability=%s add=%v rm=%v", o.node, text(o.role), text(o.availability), o.labelAdd.GetSlice(), o.labelRemove.GetSlice())
		}),
	)
	return cmd
}

func TestParse(t *testing.T) {
	tests := map[string]struct{ want, err string }{
		"inspect self x":                    {want: `[self x] format=""`},
		"inspect --pretty x":                {want: `[x] format="pretty"`},
		"inspect -f json x":                 {want: `[x] format="json"`},
		"inspect":                           {err: "requires at least 1 argument"},
		"ls":                                {want: `quiet=false format="" filter=`},
		"list -q --format json -f role=x":   {want: `quiet=true format="json" filter={"role":{"x":true}}`},
		"ls x":                              {err: "accepts no arguments"},
		"ps":                                {want: `[self] resolve=true full=false quiet=false format="" filter=`},
		"ps -q --no-trunc --no-resolve a b": {want: `[a b] resolve=false full=true quiet=true format="" filter=`},
		"rm -f a b":                         {want: "[a b] force=true"},
		"update x":                          {want: "x role=unset availability=unset add=[] rm=[]"},
		"update --role manager --availability= --label-add a=b --label-add c --label-rm d x": {
			want: "x role=manager availability= add=[a=b c] rm=[d]",
		},
		"update": {err: "requires 1 argument"},
	}
	for argv, test := range tests {
		t.Run(argv, func(t *testing.T) {
			var got string
			cmd := captured(cmdtest.NewSession(t, "", nil).Env, &got)
			cmd.SetArgs(strings.Fields(argv))
			err := cmd.ExecuteContext(t.Context())
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got  %s (%v)\nwant %s", got, err, test.want)
			}
		})
	}
}
