package control

import (
	"encoding/json"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
)

func TestNullsAreRefused(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"Secrets":[null]}`, `{"Configs":[{"File":{}},null]}`, `{"Ulimits":[null]}`} {
		spec := swarm.ServiceSpec{TaskTemplate: swarm.TaskSpec{ContainerSpec: parsed[swarm.ContainerSpec](t, body)}}
		if _, err := toService(spec); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if err := checkSpec(parsed[swarm.Spec](t, `{"CAConfig":{"ExternalCAs":[null]}}`)); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
}

func parsed[T any](t *testing.T, body string) *T {
	t.Helper()
	v := new(T)
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Whatever a client sends as a spec is converted or refused.
func FuzzServiceSpec(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"TaskTemplate":{"ContainerSpec":{"Secrets":[null],"Configs":[null],"Ulimits":[null],"Privileges":{"CredentialSpec":{}},"Healthcheck":{}}}}`,
		`{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Type":"bind","BindOptions":{}},{"TmpfsOptions":{"Options":[[]]}},{"VolumeOptions":{"DriverConfig":null}}],"DNSConfig":{}}}}`,
		`{"TaskTemplate":{"Placement":{"Preferences":[{"Spread":null}],"Platforms":[{}]},"Resources":{"Limits":{},"Reservations":{"GenericResources":[{}]}}}}`,
		`{"TaskTemplate":{"PluginSpec":{"Name":"a","Privileges":[null]},"Runtime":"plugin","LogDriver":{},"RestartPolicy":{"Condition":"x"}}}`,
		`{"Mode":{"Replicated":{},"Global":{}},"UpdateConfig":{"Order":"x"},"RollbackConfig":{},"EndpointSpec":{"Mode":"x","Ports":[{"Protocol":"x"}]},"Networks":[{}]}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(_ *testing.T, body string) {
		var spec swarm.ServiceSpec
		if json.Unmarshal([]byte(body), &spec) == nil {
			_, _ = toService(spec)
		}
	})
}

func FuzzSwarmSpec(f *testing.F) {
	for _, body := range []string{`{}`, `{"Name":"default","CAConfig":{"ExternalCAs":[{"Protocol":"cfssl"},null]},"TaskDefaults":{"LogDriver":{}},"Raft":{"KeepOldSnapshots":null}}`} {
		f.Add(body)
	}
	f.Fuzz(func(_ *testing.T, body string) {
		var spec swarm.Spec
		if json.Unmarshal([]byte(body), &spec) == nil && checkSpec(&spec) == nil {
			_, _ = convert.SwarmSpecToGRPC(spec)
			_, _ = convert.MergeSwarmSpecToGRPC(spec, api.ClusterSpec{})
		}
	})
}
