package network

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/model"
)

// detachOptions are the flags and arguments of `network detach`.
type detachOptions struct {
	holderOptions

	args    []string
	network bool // the argument is a network, the flags say what is on it
}

// NewDetach gives the `detach` command.
func NewDetach(env *cmdenv.Env) *cobra.Command { return newDetach(env, nil) }

func newDetach(env *cmdenv.Env, hook func(*detachOptions) error) *cobra.Command {
	o := &detachOptions{}
	cmd := &cobra.Command{
		Use:   "detach [OPTIONS] NETWORK|ATTACHMENT [ATTACHMENT...]",
		Short: "Detach what was attached to a network",
		Long: `Detach what was attached to a network of weft's own engine.

With --pid, --netns or --tap the argument is the network; without, the arguments are IDs or names of attachments, as
"weft network attachments" shows them.`,
		Args: cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args, o.network = args, anyChanged(cmd, holderFlags())
			if hook != nil {
				return hook(o)
			}
			return detach(cmd.Context(), env, o)
		},
		Annotations:       cmdenv.AlsoKnownAs("network detach", "detach"),
		ValidArgsFunction: completeDetach(env),
	}
	o.bind(cmd.Flags())
	return cmd
}

// completeDetach offers the names of attachments, or the networks they are on.
func completeDetach(env *cmdenv.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		toNetwork := anyChanged(cmd, holderFlags())
		api, err := attachmentsAPI(cmd.Context(), env)
		if err != nil || (toNetwork && len(args) > 0) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list, err := listAttachments(cmd.Context(), api)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, len(list))
		for i, a := range list {
			names[i] = a.Name
			if toNetwork {
				names[i] = a.Network
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// detach ends what it can: an attachment that stays is reported at once and
// decides the exit code at the end, as in `network rm`.
func detach(ctx context.Context, env *cmdenv.Env, o *detachOptions) error {
	if o.network {
		if err := o.check("detach from network " + o.args[0]); err != nil {
			return err
		}
		if len(o.args) > 1 {
			return errors.New("detach: with --pid, --netns or --tap there is one argument, the network")
		}
	}
	api, err := attachmentsAPI(ctx, env)
	if err != nil {
		return err
	}
	list, err := listAttachments(ctx, api)
	if err != nil {
		return err
	}
	failed := false
	for _, arg := range o.args {
		id, err := o.find(list, arg)
		if err == nil {
			_, err = api.Do(ctx, http.MethodDelete, attachmentsRoute+"/"+id, nil, nil)
		}
		if err != nil {
			fmt.Fprintln(env.Err, err)
			failed = true
			continue
		}
		fmt.Fprintln(env.Out, arg)
	}
	if failed {
		return cmdenv.StatusError{Code: 1}
	}
	return nil
}

// find gives the ID of the attachment an argument means.
func (o *detachOptions) find(list []model.NetworkAttachment, arg string) (string, error) {
	var found []string
	for _, a := range list {
		switch {
		case o.network && a.Holder == o.holder() && (a.Network == arg || a.NetworkID == arg),
			!o.network && a.Name == arg:
			found = append(found, a.ID)
		case !o.network && a.ID == arg:
			return a.ID, nil
		}
	}
	if len(found) == 0 && !o.network {
		for _, a := range list {
			if strings.HasPrefix(a.ID, arg) {
				found = append(found, a.ID)
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("%s means several attachments: give the ID of one, see `weft network attachments`", arg)
	case o.network:
		return "", fmt.Errorf("%s is not attached to network %s: see `weft network attachments`", holderText(o.holder()), arg)
	}
	return "", fmt.Errorf("No such attachment: %s: see `weft network attachments`", arg) //nolint:staticcheck // in the form of docker's
}
