package swarm

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

// captured makes each verb write down what it parsed.
func captured(env *cmdenv.Env, got *string) *cobra.Command {
	say := func(format string, args ...any) error {
		*got = fmt.Sprintf(format, args...)
		return nil
	}
	cmd := &cobra.Command{Use: "swarm", SilenceErrors: true, SilenceUsage: true}
	cmd.SetOut(io.Discard)
	cmd.AddCommand(
		newInit(env, func(r swarm.InitRequest) error {
			return say("listen=%s advertise=%s data=%s:%d pools=%v/%d new=%t lock=%t availability=%q",
				r.ListenAddr, r.AdvertiseAddr, r.DataPathAddr, r.DataPathPort, r.DefaultAddrPool, r.SubnetSize, r.ForceNewCluster, r.AutoLockManagers, r.Availability)
		}),
		newJoin(env, func(r swarm.JoinRequest) error {
			return say("%v token=%s listen=%s advertise=%s data=%s availability=%q",
				r.RemoteAddrs, r.JoinToken, r.ListenAddr, r.AdvertiseAddr, r.DataPathAddr, r.Availability)
		}),
		newJoinToken(env, func(o *joinTokenOptions) error { return say("%+v", *o) }),
		newLeave(env, func(o *leaveOptions) error { return say("%+v", *o) }),
		newUnlockKey(env, func(o *unlockKeyOptions) error { return say("%+v", *o) }),
		newUpdate(env, func(o *specOptions) error {
			return say("expiry=%s history=%d heartbeat=%s snapshots=%d/%d lock=%t cas=%s",
				o.certExpiry, o.taskHistoryLimit, o.dispatcherHeartbeat, o.maxSnapshots, o.snapshotInterval, o.autolock, o.externalCA.String())
		}),
		newCA(env, func(o *rotateOptions) error {
			return say("rotate=%t detach=%t quiet=%t expiry=%s cert=%s key=%s", o.rotate, o.detach, o.quiet, o.certExpiry, o.cert.String(), o.key.String())
		}),
	)
	return cmd
}

func TestParse(t *testing.T) {
	tests := map[string]struct{ want, err string }{
		"init": {want: `listen=0.0.0.0:2377 advertise= data=:0 pools=[]/24 new=false lock=false availability=""`},
		"init --listen-addr eth0 --advertise-addr 10.0.0.1 --data-path-addr eth1 --data-path-port 7777 --default-addr-pool 10.1.2.3/16,10.2.0.0/16 --default-addr-pool-mask-length 26 --force-new-cluster --autolock --availability Pause": {
			want: `listen=eth0:2377 advertise=10.0.0.1 data=eth1:7777 pools=[10.1.0.0/16 10.2.0.0/16]/26 new=true lock=true availability="pause"`,
		},
		"init --listen-addr [fd00::1]:2400":         {want: `listen=[fd00::1]:2400 advertise= data=:0 pools=[]/24 new=false lock=false availability=""`},
		"init --availability gone":                  {err: `invalid availability "gone", only active, pause and drain are supported`},
		"init --data-path-port -1":                  {err: `invalid argument "-1" for "--data-path-port" flag`},
		"init --listen-addr http://x":               {err: `invalid proto, expected tcp: http://x`},
		"init --default-addr-pool x":                {err: "invalid string being converted to CIDR: x"},
		"init x":                                    {err: "accepts no arguments"},
		"join h:2377":                               {want: `[h:2377] token= listen=0.0.0.0:2377 advertise= data= availability=""`},
		"join --token T --availability drain h":     {want: `[h] token=T listen=0.0.0.0:2377 advertise= data= availability="drain"`},
		"join --availability x h":                   {err: "invalid availability"},
		"join":                                      {err: "requires 1 argument"},
		"join-token worker":                         {want: "{role:worker rotate:false quiet:false}"},
		"join-token --rotate -q manager":            {want: "{role:manager rotate:true quiet:true}"},
		"join-token boss":                           {err: "unknown role boss"},
		"leave":                                     {want: "{force:false}"},
		"leave -f":                                  {want: "{force:true}"},
		"unlock-key --rotate -q":                    {want: "{rotate:true quiet:true}"},
		"update --autolock=false --cert-expiry 48h": {want: "expiry=48h0m0s history=5 heartbeat=5s snapshots=0/10000 lock=false cas="},
		"update --external-ca protocol=cfssl,url=u": {want: "expiry=2160h0m0s history=5 heartbeat=5s snapshots=0/10000 lock=false cas=cfssl: u"},
		"ca":                    {want: "rotate=false detach=false quiet=false expiry=2160h0m0s cert= key="},
		"ca --rotate -d -q":     {want: "rotate=true detach=true quiet=true expiry=2160h0m0s cert= key="},
		"ca --ca-cert /nowhere": {err: "open /nowhere: no such file or directory"},
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
