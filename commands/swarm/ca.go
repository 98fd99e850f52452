package swarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
)

type rotateOptions struct {
	caOptions
	cert, key pemValue
	rotate    bool
	detach    bool
	quiet     bool
}

type rotator interface {
	clusterAPI
	NodeList(ctx context.Context, options swarm.NodeListOptions) ([]swarm.Node, error)
}

func newCA(env *cmdenv.Env, hook func(*rotateOptions) error) *cobra.Command {
	o := &rotateOptions{}
	cmd := &cobra.Command{
		Use:   "ca [OPTIONS]",
		Short: "Display and rotate the root CA",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runCA(cmd.Context(), env, api, o, cmd.Flags())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	o.bind(flags)
	flags.BoolVar(&o.rotate, "rotate", false, "Rotate the swarm CA - if no certificate or key are provided, new ones will be generated")
	flags.Var(&o.cert, "ca-cert", "Path to the PEM-formatted root CA certificate to use for the new cluster")
	flags.Var(&o.key, "ca-key", "Path to the PEM-formatted root CA key to use for the new cluster")
	flags.BoolVarP(&o.detach, "detach", "d", false, "Exit immediately instead of waiting for the root rotation to converge")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress progress output")
	return cmd
}

func runCA(ctx context.Context, env *cmdenv.Env, api rotator, o *rotateOptions, flags *pflag.FlagSet) error {
	s, err := api.SwarmInspect(ctx)
	if err != nil {
		return err
	}
	if err := o.check(flags); err != nil {
		return err
	}
	if !o.rotate {
		return printTrustRoot(env, s)
	}
	spec := s.Spec
	o.apply(&spec, flags, o.cert.contents)
	spec.CAConfig.SigningCACert, spec.CAConfig.SigningCAKey = o.cert.contents, o.key.contents
	if o.cert.contents == "" && o.key.contents == "" {
		spec.CAConfig.ForceRotate++
	}
	if err := api.SwarmUpdate(ctx, s.Version, spec, swarm.UpdateFlags{}); err != nil {
		return err
	}
	if o.detach {
		return nil
	}
	if s, err = awaitRotation(ctx, env, api, o.quiet); err != nil || o.quiet {
		return err
	}
	return printTrustRoot(env, s)
}

func (o *rotateOptions) check(flags *pflag.FlagSet) error {
	for _, flag := range []string{"ca-cert", "ca-key", "cert-expiry", "external-ca"} {
		if !o.rotate && flags.Changed(flag) {
			return fmt.Errorf("`--%s` flag requires the `--rotate` flag to update the CA", flag)
		}
	}
	switch external := len(o.externalCA.list) > 0; {
	case external && !flags.Changed("ca-cert"):
		return errors.New("rotating to an external CA requires the `--ca-cert` flag to specify the external CA's cert - " +
			"to add an external CA with the current root CA certificate, use the `update` command instead")
	case flags.Changed("ca-cert") && !external && !flags.Changed("ca-key"):
		return errors.New("the --ca-cert flag requires that a --ca-key flag and/or --external-ca flag be provided as well")
	}
	return nil
}

// pollRotation is how often the progress of a rotation is looked at.
const pollRotation = 200 * time.Millisecond

// awaitRotation waits until every node has a certificate of the new root and
// trusts it, and says on Err how far that has come.
func awaitRotation(ctx context.Context, env *cmdenv.Env, api rotator, quiet bool) (swarm.Swarm, error) {
	tick := time.NewTicker(pollRotation)
	defer tick.Stop()
	said := ""
	for {
		s, err := api.SwarmInspect(ctx)
		if err != nil {
			return s, err
		}
		nodes, err := api.NodeList(ctx, swarm.NodeListOptions{})
		if err != nil {
			return s, err
		}
		certs, roots := rotated(s.TLSInfo, nodes)
		if now := fmt.Sprintf("rotated TLS certificates: %d of %d nodes, rotated CA certificates: %d of %d nodes",
			certs, len(nodes), roots, len(nodes)); now != said && !quiet {
			fmt.Fprintln(env.Err, now)
			said = now
		}
		if certs == len(nodes) && roots == len(nodes) && !s.RootRotationInProgress {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, cmdenv.WithHint(context.Cause(ctx), "The rotation continues; `swarm ca` shows the root it has come to.")
		case <-tick.C:
		}
	}
}

func rotated(want swarm.TLSInfo, nodes []swarm.Node) (certs, roots int) {
	for _, n := range nodes {
		have := n.Description.TLSInfo
		if bytes.Equal(have.CertIssuerPublicKey, want.CertIssuerPublicKey) && bytes.Equal(have.CertIssuerSubject, want.CertIssuerSubject) {
			certs++
		}
		if have.TrustRoot == want.TrustRoot {
			roots++
		}
	}
	return certs, roots
}

func printTrustRoot(env *cmdenv.Env, s swarm.Swarm) error {
	if s.TLSInfo.TrustRoot == "" {
		return errors.New("No CA information available") //nolint:staticcheck // Docker's wording
	}
	fmt.Fprintln(env.Out, strings.TrimSpace(s.TLSInfo.TrustRoot))
	return nil
}
