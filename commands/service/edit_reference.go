package service

import (
	"context"

	"github.com/docker/docker/api/types/swarm"
)

// editReferences changes secrets, configs and the credential spec, which may
// be kept in a config.
func (o *updateOptions) editReferences(ctx context.Context, api updateAPI, c *swarm.ContainerSpec) error {
	added, err := resolveSecrets(ctx, api, o.flags.secrets.Value())
	if err != nil {
		return err
	}
	gone := setOf(o.secretRemove.GetSlice())
	secrets := []*swarm.SecretReference{}
	for _, s := range c.Secrets {
		if !gone[s.SecretName] {
			secrets = append(secrets, s)
		}
	}
	c.Secrets = append(secrets, added...)
	return o.editConfigs(ctx, api, c)
}

func (o *updateOptions) editConfigs(ctx context.Context, api ConfigLister, c *swarm.ContainerSpec) error {
	wanted := append([]*swarm.ConfigReference(nil), o.flags.configs.Value()...)
	kept := o.keptConfigs(c)
	if o.flags.changed(flagCredentialSpec) {
		wanted = append(wanted, missingFrom(kept, credentialConfig(&o.flags.container.credential))...)
	}
	added, err := resolveConfigs(ctx, api, wanted)
	if err != nil {
		return err
	}
	c.Configs = append(kept, added...)
	o.editCredential(c)
	return nil
}

// keptConfigs drops the configs to be removed and the one a former credential
// spec was read from.
func (o *updateOptions) keptConfigs(c *swarm.ContainerSpec) []*swarm.ConfigReference {
	gone := setOf(o.configRemove.GetSlice())
	kept := []*swarm.ConfigReference{}
	for _, r := range c.Configs {
		if r.Runtime != nil && o.keepsCredentialConfig(c, r) || r.Runtime == nil && !gone[r.ConfigName] {
			kept = append(kept, r)
		}
	}
	return kept
}

func (o *updateOptions) keepsCredentialConfig(c *swarm.ContainerSpec, r *swarm.ConfigReference) bool {
	if o.flags.changed(flagCredentialSpec) {
		return r.ConfigName == o.flags.container.credential.configName()
	}
	return c.Privileges != nil && c.Privileges.CredentialSpec != nil && r.ConfigID == c.Privileges.CredentialSpec.Config
}

func missingFrom(kept, wanted []*swarm.ConfigReference) []*swarm.ConfigReference {
	for _, k := range kept {
		for _, w := range wanted {
			if k.Runtime != nil && k.ConfigName == w.ConfigName {
				return nil
			}
		}
	}
	return wanted
}

// editCredential sets the credential spec; an empty flag removes it.
func (o *updateOptions) editCredential(c *swarm.ContainerSpec) {
	if !o.flags.changed(flagCredentialSpec) {
		return
	}
	credential := o.flags.container.credential
	if credential.source == "" {
		if c.Privileges != nil {
			c.Privileges.CredentialSpec = nil
		}
		return
	}
	setCredentialConfigID(credential.spec, c.Configs)
	if c.Privileges == nil {
		c.Privileges = &swarm.Privileges{}
	}
	c.Privileges.CredentialSpec = credential.spec
}
