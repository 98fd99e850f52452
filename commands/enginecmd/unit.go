package enginecmd

import (
	"io"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/rootless"
)

// unitText is a systemd service. The engine reports READY=1 itself; on a stop
// systemd signals only the engine, which stops its containers in good order,
// and after a crash of the engine its containers must go on. That of an ordinary
// user is for systemd's instance of that user, whose limits are set already.
const unitText = `[Unit]
Description=weft overlay engine
{{- if not .Rootless}}
Wants=network-online.target
After=network-online.target
{{- end}}
StartLimitBurst=5
StartLimitIntervalSec=60

[Service]
Type=notify
{{- if .Rootless}}
NotifyAccess=all
{{- end}}
ExecStart={{.Command}}
KillMode=process
Restart=on-failure
RestartSec=1
TimeoutStopSec=120
{{- if not .Rootless}}
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
{{- end}}

[Install]
WantedBy={{if .Rootless}}default{{else}}multi-user{{end}}.target
`

func newUnit(env *cmdenv.Env, self string) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "unit [OPTIONS]",
		Short: "Print a systemd unit that runs the engine with these options",
		Example: "  weft engine unit --data-path-addr eth1 > /etc/systemd/system/weft.service\n" +
			"  systemctl enable --now weft\n\n" +
			"  weft engine unit > ~/.config/systemd/user/weft.service    # as an ordinary user\n" +
			"  systemctl --user enable --now weft",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := o.config(); err != nil {
				return err
			}
			return writeUnit(env.Out, append([]string{self}, o.args()...), rootless.Needed())
		},
	}
	o.bind(cmd, env)
	return cmd
}

func writeUnit(out io.Writer, argv []string, rootless bool) error {
	t, err := template.New("unit").Parse(unitText)
	if err != nil {
		return err
	}
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = quoteUnit(a)
	}
	return t.Execute(out, struct {
		Command  string
		Rootless bool
	}{strings.Join(quoted, " "), rootless})
}

// quoteUnit writes an argument so that systemd reads it back as it is
// (systemd.service(5), "Command lines"): % starts a specifier, $ a variable.
func quoteUnit(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `$`, `$$`).Replace(s)
	if s != "" && !strings.ContainsAny(s, " \t\n\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}
