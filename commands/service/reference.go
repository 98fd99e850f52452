package service

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// SecretLister lists secrets.
type SecretLister interface {
	SecretList(ctx context.Context, options swarm.SecretListOptions) ([]swarm.Secret, error)
}

// ConfigLister lists configs.
type ConfigLister interface {
	ConfigList(ctx context.Context, options swarm.ConfigListOptions) ([]swarm.Config, error)
}

// resolveSecrets gives the references with the IDs of the secrets they name.
func resolveSecrets(ctx context.Context, api SecretLister, refs []*swarm.SecretReference) ([]*swarm.SecretReference, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	names, targets := filters.NewArgs(), map[string]bool{}
	for _, r := range refs {
		if targets[r.File.Name] {
			return nil, fmt.Errorf("duplicate secret target for %s not allowed", r.SecretName)
		}
		targets[r.File.Name] = true
		names.Add("name", r.SecretName)
	}
	found, err := api.SecretList(ctx, swarm.SecretListOptions{Filters: names})
	if err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(found))
	for _, s := range found {
		ids[s.Spec.Name] = s.ID
	}
	out := make([]*swarm.SecretReference, 0, len(refs))
	for _, r := range refs {
		resolved := *r
		if resolved.SecretID = ids[r.SecretName]; resolved.SecretID == "" {
			return nil, fmt.Errorf("secret not found: %s", r.SecretName)
		}
		out = append(out, &resolved)
	}
	return out, nil
}

// resolveConfigs gives the references with the IDs of the configs they name.
// A config that only the daemon reads (a credential spec) has no file and is
// referred to once.
func resolveConfigs(ctx context.Context, api ConfigLister, refs []*swarm.ConfigReference) ([]*swarm.ConfigReference, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	names, targets, runtime := filters.NewArgs(), map[string]bool{}, map[string]bool{}
	unique := make([]*swarm.ConfigReference, 0, len(refs))
	for _, r := range refs {
		switch {
		case r.Runtime != nil && runtime[r.ConfigName]:
			continue
		case r.Runtime != nil:
			runtime[r.ConfigName] = true
		case targets[r.File.Name]:
			return nil, fmt.Errorf("duplicate config target for %s not allowed", r.ConfigName)
		default:
			targets[r.File.Name] = true
		}
		unique = append(unique, r)
		names.Add("name", r.ConfigName)
	}
	found, err := api.ConfigList(ctx, swarm.ConfigListOptions{Filters: names})
	if err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(found))
	for _, c := range found {
		ids[c.Spec.Name] = c.ID
	}
	out := make([]*swarm.ConfigReference, 0, len(unique))
	for _, r := range unique {
		resolved := *r
		if resolved.ConfigID = ids[r.ConfigName]; resolved.ConfigID == "" {
			return nil, fmt.Errorf("config not found: %s", r.ConfigName)
		}
		out = append(out, &resolved)
	}
	return out, nil
}

// credentialConfig is the reference by which the daemon reads a credential
// spec from a config, or none.
func credentialConfig(c *credentialSpec) []*swarm.ConfigReference {
	if c.configName() == "" {
		return nil
	}
	return []*swarm.ConfigReference{{ConfigName: c.configName(), Runtime: &swarm.ConfigReferenceRuntimeTarget{}}}
}

// setCredentialConfigID puts the config's ID, which the API wants, in the
// place of the name the user gave.
func setCredentialConfigID(spec *swarm.CredentialSpec, refs []*swarm.ConfigReference) {
	for _, r := range refs {
		if spec.Config != "" && r.ConfigName == spec.Config {
			spec.Config = r.ConfigID
			return
		}
	}
}
