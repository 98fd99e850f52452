package network

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
	"weft/engine/model"
)

type attachmentsOptions struct {
	quiet   bool
	noTrunc bool
	format  string
}

func newAttachments(env *cmdenv.Env, hook func(*attachmentsOptions) error) *cobra.Command {
	o := &attachmentsOptions{}
	cmd := &cobra.Command{
		Use:   "attachments [OPTIONS]",
		Short: "List what is attached to networks of this host besides containers",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			api, err := attachmentsAPI(cmd.Context(), env)
			if err != nil {
				return err
			}
			return runAttachments(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display attachment IDs")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate the output")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	return cmd
}

// attachmentContext is a row of the list, named as Docker names its own,
// because errors in templates show the name.
type attachmentContext struct {
	ID, Name, Network, NetworkID, Driver, Holder, Interface, Address, IPv6Address string
	Gateway, IPv6Gateway, MacAddress, MTU, Resolver, ResolvConf, Aliases          string
	CreatedAt                                                                     string
}

func rowOf(a model.NetworkAttachment, noTrunc bool) *attachmentContext {
	row := &attachmentContext{
		ID: render.ID(a.ID, noTrunc), Name: a.Name, Network: a.Network, NetworkID: render.ID(a.NetworkID, noTrunc), Driver: a.Driver,
		Holder: holderText(a.Holder), Interface: a.Interface, Address: a.Address.String(),
		MacAddress: a.MAC, MTU: strconv.Itoa(a.MTU), ResolvConf: a.ResolvConf, Aliases: strings.Join(a.Aliases, ","),
		CreatedAt: a.Created.Format(time.RFC3339),
	}
	if a.AddressV6.IsValid() {
		row.IPv6Address = a.AddressV6.String()
	}
	if a.Gateway.IsValid() {
		row.Gateway = a.Gateway.String()
	}
	if a.GatewayV6.IsValid() {
		row.IPv6Gateway = a.GatewayV6.String()
	}
	if a.Resolver.IsValid() {
		row.Resolver = a.Resolver.String()
	}
	return row
}

// holderText names what is attached, as the flags do.
func holderText(h model.Holder) string {
	switch {
	case h.Pid != 0:
		return fmt.Sprintf("pid %d", h.Pid)
	case h.NetNS != "":
		return "netns " + strings.TrimPrefix(h.NetNS, namedNamespaces)
	}
	return "tap " + h.Tap
}

func listAttachments(ctx context.Context, api weftAPI) ([]model.NetworkAttachment, error) {
	text, err := api.Do(ctx, http.MethodGet, attachmentsRoute, nil, nil)
	if err != nil {
		return nil, err
	}
	var list []model.NetworkAttachment
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read the engine's answer: %w", err)
	}
	return list, nil
}

func runAttachments(ctx context.Context, api weftAPI, out io.Writer, o *attachmentsOptions) error {
	list, err := listAttachments(ctx, api)
	if err != nil {
		return err
	}
	rows := make([]*attachmentContext, len(list))
	for i, a := range list {
		rows[i] = rowOf(a, o.noTrunc)
	}
	return attachments().Write(out, o.format, o.quiet, rows)
}

func attachments() render.List[*attachmentContext] {
	return render.List[*attachmentContext]{
		Headers: render.Headers{
			"ID": "ATTACHMENT ID", "Name": "NAME", "Network": "NETWORK", "NetworkID": "NETWORK ID", "Driver": "DRIVER",
			"Holder": "ATTACHED", "Interface": "INTERFACE", "Address": "ADDRESS", "IPv6Address": "IPV6 ADDRESS", "Gateway": "GATEWAY",
			"IPv6Gateway": "IPV6 GATEWAY", "MacAddress": "MAC ADDRESS", "MTU": "MTU", "Resolver": "RESOLVER", "ResolvConf": "RESOLVER FILE",
			"Aliases": "ALIASES", "CreatedAt": "CREATED AT",
		},
		Table: `{{.ID}}\t{{.Name}}\t{{.Network}}\t{{.Holder}}\t{{.Interface}}\t{{.Address}}`,
	}
}
