package network

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/docker/cli/opts"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

func flag(b *bool) string {
	if b == nil {
		return "unset"
	}
	return fmt.Sprint(*b)
}

// captured makes each verb write down the options it parsed.
func captured(env *cmdenv.Env, got *string) *cobra.Command {
	filter := func(f opts.FilterOpt) string { return f.String() }
	say := func(format string, args ...any) error {
		*got = fmt.Sprintf(format, args...)
		return nil
	}
	cmd := &cobra.Command{Use: "network", SilenceErrors: true, SilenceUsage: true}
	cmd.SetOut(io.Discard)
	cmd.AddCommand(
		newCreate(env, func(o *createOptions) error {
			return say("%s driver=%s opts=%v labels=%v internal=%t attachable=%t ingress=%t v4=%s v6=%s scope=%q only=%t from=%q ipam=%s%v subnets=%v ranges=%v gateways=%v aux=%v",
				o.name, o.driver, o.driverOpts.GetAll(), o.labels.GetSlice(), o.internal, o.attachable, o.ingress, flag(o.ipv4), flag(o.ipv6),
				o.scope, o.configOnly, o.configFrom, o.ipam.Driver, o.ipam.DriverOpts.GetAll(), o.ipam.Subnets, o.ipam.Ranges, o.ipam.Gateways, o.ipam.AuxAddresses.GetAll())
		}),
		newConnect(env, func(o *connectOptions) error {
			return say("%s %s ip=%s ip6=%s links=%v aliases=%v local=%v opts=%v priority=%d",
				o.network, o.container, o.ip, o.ip6, o.links.GetSlice(), o.aliases, o.linkLocalIPs, o.driverOpts, o.gwPriority)
		}),
		newAttach(env, func(o *attachOptions) error {
			return say("%s pid=%d netns=%s tap=%s user=%d name=%s aliases=%v ip=%s ip6=%s conf=%s quiet=%t format=%q",
				o.network, o.pid, o.netns, o.tap, o.user, o.name, o.aliases, o.ip, o.ip6, o.resolvConf, o.quiet, o.format)
		}),
		newDetach(env, func(o *detachOptions) error {
			return say("%v network=%t pid=%d netns=%s tap=%s", o.args, o.network, o.pid, o.netns, o.tap)
		}),
		newAttachments(env, func(o *attachmentsOptions) error {
			return say("quiet=%t full=%t format=%q", o.quiet, o.noTrunc, o.format)
		}),
		newDisconnect(env, func(o *disconnectOptions) error { return say("%s %s force=%t", o.network, o.container, o.force) }),
		newInspect(env, func(o *inspectOptions) error { return say("%v format=%q verbose=%t", o.names, o.format, o.verbose) }),
		newList(env, func(o *listOptions) error {
			return say("quiet=%t full=%t format=%q filter=%s", o.quiet, o.noTrunc, o.format, filter(o.filter))
		}),
		newRemove(env, func(o *removeOptions) error { return say("%v force=%t", o.names, o.force) }),
		newPrune(env, func(o *pruneOptions) error { return say("force=%t filter=%s", o.force, filter(o.filter)) }),
	)
	return cmd
}

func TestParse(t *testing.T) {
	tests := map[string]struct{ want, err string }{
		"create n": {want: `n driver=bridge opts=map[] labels=[] internal=false attachable=false ingress=false v4=unset v6=unset scope="" only=false from="" ipam=defaultmap[] subnets=[] ranges=[] gateways=[] aux=map[]`},
		"create -d overlay -o a=b --opt c --label l --internal --attachable --ingress --ipv4 --ipv6=false --scope swarm --config-only --config-from base --ipam-driver d --ipam-opt e=f --subnet 1.0.0.0/8,2.0.0.0/8 --subnet 3.0.0.0/8 --ip-range 1.1.0.0/16 --gateway 1.0.0.1 --aux-address x=1.0.0.9 n": {
			want: `n driver=overlay opts=map[a:b c:] labels=[l] internal=true attachable=true ingress=true v4=true v6=false scope="swarm" only=true from="base" ipam=dmap[e:f] subnets=[1.0.0.0/8 2.0.0.0/8 3.0.0.0/8] ranges=[1.1.0.0/16] gateways=[1.0.0.1] aux=map[x:1.0.0.9]`,
		},
		"create":              {err: "requires 1 argument"},
		"create a b":          {err: "requires 1 argument"},
		"create --label =x n": {err: `invalid argument "=x" for "--label" flag`},
		"connect n c":         {want: "n c ip= ip6= links=[] aliases=[] local=[] opts=[] priority=0"},
		"connect --ip 1.2.3.4 --ip6 fe80::1 --link a:b --alias x,y --link-local-ip 169.254.0.1 --driver-opt k=v --gw-priority -7 n c": {
			want: "n c ip=1.2.3.4 ip6=fe80::1 links=[a:b] aliases=[x y] local=[169.254.0.1] opts=[k=v] priority=-7",
		},
		"connect --link a:b:c n c": {err: "bad format for links: a:b:c"},
		"attach --pid 7 n":         {want: `n pid=7 netns= tap= user=0 name= aliases=[] ip= ip6= conf= quiet=false format=""`},
		"attach --netns b --tap t --user 9 --name x --alias a,b --ip 1.2.3.4 --ip6 fd00::1 --resolv-conf /f -q --format json n": {
			want: `n pid=0 netns=b tap=t user=9 name=x aliases=[a b] ip=1.2.3.4 ip6=fd00::1 conf=/f quiet=true format="json"`,
		},
		"attach --pid x n": {err: `invalid argument "x" for "--pid" flag`},
		"attach":           {err: "requires 1 argument"},
		"detach a b":       {want: "[a b] network=false pid=0 netns= tap="},
		"detach --tap t n": {want: "[n] network=true pid=0 netns= tap=t"},
		"detach":           {err: "requires at least 1 argument"},
		"attachments":      {want: `quiet=false full=false format=""`},
		"attachments -q --no-trunc --format json": {want: `quiet=true full=true format="json"`},
		"disconnect n c":          {want: "n c force=false"},
		"disconnect -f n c":       {want: "n c force=true"},
		"disconnect n":            {err: "requires 2 arguments"},
		"inspect a b":             {want: `[a b] format="" verbose=false`},
		"inspect -v -f {{.ID}} a": {want: `[a] format="{{.ID}}" verbose=true`},
		"inspect":                 {err: "requires at least 1 argument"},
		"ls":                      {want: `quiet=false full=false format="" filter=`},
		"list -q --no-trunc --format json -f driver=x": {want: `quiet=true full=true format="json" filter={"driver":{"x":true}}`},
		"ls -f novalue":              {err: "bad format of filter (expected name=value)"},
		"rm a b":                     {want: "[a b] force=false"},
		"remove -f a":                {want: "[a] force=true"},
		"prune -f --filter label!=x": {want: `force=true filter={"label!":{"x":true}}`},
		"prune x":                    {err: "accepts no arguments"},
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
