package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// updateOptions are the changes asked for; nil and empty change nothing.
type updateOptions struct {
	node         string
	role         *string
	availability *string
	labelAdd     opts.ListOpts
	labelRemove  opts.ListOpts
}

type updater interface {
	NodeInspectWithRaw(ctx context.Context, nodeID string) (swarm.Node, []byte, error)
	NodeUpdate(ctx context.Context, nodeID string, version swarm.Version, node swarm.NodeSpec) error
}

func newUpdate(env *cmdenv.Env, hook func(*updateOptions) error) *cobra.Command {
	o := &updateOptions{labelAdd: opts.NewListOpts(nil), labelRemove: opts.NewListOpts(nil)}
	var role, availability string
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] NODE",
		Short: "Update a node",
		Args:  cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.node = args[0]
			if cmd.Flags().Changed("role") {
				o.role = &role
			}
			if cmd.Flags().Changed("availability") {
				o.availability = &availability
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runUpdate(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: complete.Nodes(env),
	}
	flags := cmd.Flags()
	flags.StringVar(&role, "role", "", `Role of the node ("worker", "manager")`)
	flags.StringVar(&availability, "availability", "", `Availability of the node ("active", "pause", "drain")`)
	flags.Var(&o.labelAdd, "label-add", `Add or update a node label ("key=value")`)
	flags.Var(&o.labelRemove, "label-rm", "Remove a node label if exists")
	_ = cmd.RegisterFlagCompletionFunc("role", complete.Words("worker", "manager"))
	_ = cmd.RegisterFlagCompletionFunc("availability", complete.Words("active", "pause", "drain"))
	return cmd
}

func runUpdate(ctx context.Context, api updater, out io.Writer, o *updateOptions) error {
	err := change(ctx, api, o.node, o.apply)
	if err == nil {
		fmt.Fprintln(out, o.node)
	}
	return err
}

// errUnchanged says that a node is already as it should be.
var errUnchanged = errors.New("nothing to change")

// change reads a node, edits it and writes it back at the version read.
func change(ctx context.Context, api updater, ref string, edit func(*swarm.Node) error) error {
	n, _, err := api.NodeInspectWithRaw(ctx, ref)
	if err != nil {
		return err
	}
	if err := edit(&n); err != nil {
		return err
	}
	return api.NodeUpdate(ctx, n.ID, n.Version, n.Spec)
}

func (o *updateOptions) apply(n *swarm.Node) error {
	if o.role != nil {
		n.Spec.Role = swarm.NodeRole(*o.role)
	}
	if o.availability != nil {
		n.Spec.Availability = swarm.NodeAvailability(*o.availability)
	}
	if n.Spec.Labels == nil {
		n.Spec.Labels = map[string]string{}
	}
	for key, value := range opts.ConvertKVStringsToMap(o.labelAdd.GetSlice()) {
		n.Spec.Labels[key] = value
	}
	for _, key := range o.labelRemove.GetSlice() {
		if _, ok := n.Spec.Labels[key]; !ok {
			return fmt.Errorf("key %s doesn't exist in node's labels", key)
		}
		delete(n.Spec.Labels, key)
	}
	return nil
}
