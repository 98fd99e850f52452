package dockerapi

import (
	"net/http"

	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/swarm"
)

func (s *Server) services(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	status := false
	if !r.before("1.41") {
		if status, err = r.strictFlag("status"); err != nil {
			return err
		}
	}
	items, err := s.cfg.Swarm.Services(r.Context(), f, status)
	return list(w, items, err)
}

func (s *Server) service(w *response, r *request) error {
	insertDefaults, err := r.strictFlag("insertDefaults")
	if err != nil {
		return err
	}
	item, err := s.cfg.Swarm.Service(r.Context(), r.vars["id"], insertDefaults)
	return one(w, item, err)
}

func (s *Server) serviceCreate(w *response, r *request) error {
	var spec swarm.ServiceSpec
	if err := r.decode(&spec); err != nil {
		return err
	}
	adjustService(r, &spec)
	resp, err := s.cfg.Swarm.CreateService(r.Context(), spec)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, resp)
}

func (s *Server) serviceUpdate(w *response, r *request) error {
	var spec swarm.ServiceSpec
	if err := r.decode(&spec); err != nil {
		return err
	}
	version, err := r.objectVersion("service")
	if err != nil {
		return err
	}
	adjustService(r, &spec)
	resp, err := s.cfg.Swarm.UpdateService(r.Context(), r.vars["id"], version, spec, swarm.ServiceUpdateOptions{
		EncodedRegistryAuth: r.Header.Get(registry.AuthHeader),
		RegistryAuthFrom:    r.query.Get("registryAuthFrom"),
		Rollback:            r.query.Get("rollback"),
	})
	return one(w, resp, err)
}

func (s *Server) serviceRemove(w *response, r *request) error {
	return done(w, http.StatusOK, s.cfg.Swarm.RemoveService(r.Context(), r.vars["id"]))
}

// adjustService drops what a client of an older API cannot have meant
// (router/swarm/helpers.go).
func adjustService(r *request, spec *swarm.ServiceSpec) {
	if r.before("1.40") && spec.TaskTemplate.Placement != nil {
		spec.TaskTemplate.Placement.MaxReplicas = 0
	}
	if r.before("1.41") {
		if res := spec.TaskTemplate.Resources; res != nil && res.Limits != nil {
			res.Limits.Pids = 0
		}
		spec.Mode.ReplicatedJob, spec.Mode.GlobalJob = nil, nil
	}
	if c := spec.TaskTemplate.ContainerSpec; c != nil {
		adjustServiceContainer(r, c)
	}
}

//nolint:gocognit // a table of versions, a field a line
func adjustServiceContainer(r *request, c *swarm.ContainerSpec) {
	if r.before("1.46") {
		c.OomScoreAdj = 0
		for i := range c.Mounts {
			if o := c.Mounts[i].TmpfsOptions; o != nil {
				o.Options = nil
			}
		}
	}
	if r.before("1.44") {
		if p := c.Privileges; p != nil {
			p.Seccomp, p.AppArmor, p.NoNewPrivileges = nil, nil, false
		}
		if c.Healthcheck != nil {
			c.Healthcheck.StartInterval = 0
		}
	}
	if r.before("1.41") {
		c.CapabilityAdd, c.CapabilityDrop, c.Ulimits = nil, nil, nil
	}
	if r.before("1.40") {
		c.Sysctls = nil
		if c.Privileges != nil && c.Privileges.CredentialSpec != nil {
			c.Privileges.CredentialSpec.Config = ""
		}
		for _, ref := range c.Configs {
			if ref != nil {
				ref.Runtime = nil
			}
		}
	}
}
