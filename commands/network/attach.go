package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/engine/model"
)

// attachmentsRoute is where the engine has attachments, below /weft/v1.
const attachmentsRoute = "/attachments"

// weftAPI is the built-in engine's own API.
type weftAPI interface {
	Do(ctx context.Context, method, route string, query url.Values, body any) ([]byte, error)
}

// attachmentsAPI gives the API of attachments, which dockerd lacks.
func attachmentsAPI(ctx context.Context, env *cmdenv.Env) (weftAPI, error) {
	return env.Weft(ctx, "attachments")
}

// holderOptions are the flags that say what is attached.
type holderOptions struct {
	pid        int
	netns, tap string
}

// holderFlags are their names.
func holderFlags() []string { return []string{"pid", "netns", "tap"} }

func (o *holderOptions) bind(flags *pflag.FlagSet) {
	flags.IntVar(&o.pid, "pid", 0, "ID of a process, for its network namespace")
	flags.StringVar(&o.netns, "netns", "", `Network namespace: its path, or its name as in "ip netns"`)
	flags.StringVar(&o.tap, "tap", "", "Name of the TAP device of a virtual machine, which attaching makes")
}

func (o *holderOptions) holder() model.Holder {
	h := model.Holder{Pid: o.pid, NetNS: o.netns, Tap: o.tap}
	if h.NetNS != "" && !strings.Contains(h.NetNS, "/") {
		h.NetNS = namedNamespaces + h.NetNS
	}
	return h
}

// namedNamespaces is where ip-netns(8) has its namespaces.
const namedNamespaces = "/run/netns/"

// check wants exactly one holder; of says what for.
func (o *holderOptions) check(of string) error {
	given := 0
	for _, is := range []bool{o.pid != 0, o.netns != "", o.tap != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("%s: give one of --pid, --netns and --tap", of)
	}
	return nil
}

// attachOptions are the flags and arguments of `network attach`.
type attachOptions struct {
	holderOptions

	network    string
	user       int
	name       string
	aliases    []string
	ip, ip6    string
	resolvConf string
	quiet      bool
	format     string
}

func (o *attachOptions) bind(flags *pflag.FlagSet) {
	o.holderOptions.bind(flags)
	flags.IntVar(&o.user, "user", 0, "UID that may open the TAP device besides root")
	flags.StringVar(&o.name, "name", "", "Name by which others find it")
	flags.StringSliceVar(&o.aliases, "alias", nil, "Add network-scoped alias for it")
	flags.StringVar(&o.ip, "ip", "", `IPv4 address (e.g., "172.30.100.104")`)
	flags.StringVar(&o.ip6, "ip6", "", `IPv6 address (e.g., "2001:db8::33")`)
	flags.StringVar(&o.resolvConf, "resolv-conf", "", "File to make for the resolver, gone again after the detachment")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display the ID of the attachment")
	flags.StringVar(&o.format, "format", "", "Format output using a custom template, or 'json'")
}

func (o *attachOptions) request() (model.AttachRequest, error) {
	req := model.AttachRequest{
		Network: o.network, User: o.user, Name: o.name, Aliases: o.aliases, ResolvConf: o.resolvConf,
	}
	h := o.holder()
	req.Pid, req.NetNS, req.Tap = h.Pid, h.NetNS, h.Tap
	for _, a := range []struct {
		text string
		to   *netip.Addr
	}{{o.ip, &req.Addr}, {o.ip6, &req.AddrV6}} {
		if a.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(a.text)
		if err != nil {
			return req, fmt.Errorf("invalid IP address %q: %w", a.text, err)
		}
		*a.to = addr
	}
	return req, o.check("attach to network " + o.network)
}

func newAttach(env *cmdenv.Env, hook func(*attachOptions) error) *cobra.Command {
	o := &attachOptions{}
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] NETWORK",
		Short: "Attach a process, a network namespace or a virtual machine to a network",
		Long: `Attach a process, a network namespace or a virtual machine to a network of weft's own engine.

The attachment has an address and a name as a container has, and ends with the process, the namespace or the TAP
device, or by "weft detach". A namespace reaches the resolver at 127.0.0.11; its resolv.conf is its owner's affair.`,
		Args: cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.network = args[0]
			if hook != nil {
				return hook(o)
			}
			return attach(cmd.Context(), env, o)
		},
		Annotations:       cmdenv.AlsoKnownAs("network attach", "attach"),
		ValidArgsFunction: complete.Networks(env),
	}
	o.bind(cmd.Flags())
	return cmd
}

// OrAttach gives Docker's `attach` weft's second meaning: with one of the flags
// that name something else than a container, its argument is a network.
func OrAttach(env *cmdenv.Env, docker *cobra.Command) *cobra.Command {
	o := &attachOptions{}
	container, names := docker.RunE, docker.ValidArgsFunction
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.bind(own)
	theirs := changedIn(docker.Flags())
	docker.Flags().AddFlagSet(own)
	toNetwork := func(cmd *cobra.Command) bool { return anyChanged(cmd, holderFlags()) }
	docker.Long = docker.Short + ".\n\n" +
		"With --pid, --netns or --tap, attach that to a network of weft's own engine, which is then\nthe argument: see \"weft network attach\"."
	docker.RunE = func(cmd *cobra.Command, args []string) error {
		if !toNetwork(cmd) {
			if used := changedIn(own)(cmd); used != "" {
				return fmt.Errorf("--%s is for attaching to a network: give --pid, --netns or --tap as well", used)
			}
			return container(cmd, args)
		}
		if used := theirs(cmd); used != "" {
			return fmt.Errorf("--%s is for attaching to a container: leave it out with --pid, --netns or --tap", used)
		}
		o.network = args[0]
		return attach(cmd.Context(), env, o)
	}
	docker.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if toNetwork(cmd) {
			return complete.Networks(env)(cmd, args, word)
		}
		return names(cmd, args, word)
	}
	return docker
}

// changedIn gives what finds the first flag of a set, as it is now, that a
// command was given.
func changedIn(set *pflag.FlagSet) func(*cobra.Command) string {
	var names []string
	set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return func(cmd *cobra.Command) string {
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				return name
			}
		}
		return ""
	}
}

func anyChanged(cmd *cobra.Command, names []string) bool {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

func attach(ctx context.Context, env *cmdenv.Env, o *attachOptions) error {
	if o.quiet && o.format != "" {
		return errors.New("--quiet and --format: give one of them")
	}
	req, err := o.request()
	if err != nil {
		return err
	}
	api, err := attachmentsAPI(ctx, env)
	if err != nil {
		return err
	}
	text, err := api.Do(ctx, http.MethodPost, attachmentsRoute, nil, req)
	if err != nil {
		return err
	}
	var made model.NetworkAttachment
	if err := json.Unmarshal(text, &made); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	switch {
	case o.quiet:
		fmt.Fprintln(env.Out, made.ID)
		return nil
	case o.format != "":
		return attachments().Write(env.Out, o.format, false, []*attachmentContext{rowOf(made, true)})
	}
	return describe(env, made)
}
