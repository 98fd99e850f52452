package dockerapi_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/dockerapi/apitest"
)

func TestSwarm(t *testing.T) {
	b := newBed(t)
	c := b.docker("")
	outside := `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`
	for _, path := range []string{"/swarm", "/swarm/unlockkey", "/services", "/nodes", "/tasks", "/nodes/x", "/services/x", "/tasks/x"} {
		b.refused("GET", path, "", 503, outside)
	}
	b.refused("POST", "/swarm/leave", "", 503, "This node is not part of a swarm")
	b.refused("POST", "/swarm/join", `{"JoinToken":"x"}`, 400, "invalid join token")
	id, err := c.SwarmInit(t.Context(), swarm.InitRequest{ListenAddr: "0.0.0.0:2377"})
	if err != nil || len(id) != 25 {
		t.Fatalf("%q, %v", id, err)
	}
	sw, err := c.SwarmInspect(t.Context())
	if err != nil || sw.JoinTokens.Worker != apitest.WorkerToken {
		t.Fatalf("%+v, %v", sw, err)
	}
	for query, want := range map[string]string{
		"":                                     `invalid swarm version '': strconv.ParseUint: parsing "": invalid syntax`,
		"version=-1":                           `invalid swarm version '-1': strconv.ParseUint: parsing "-1": invalid syntax`,
		"version=1&rotateWorkerToken=x":        "invalid value for rotateWorkerToken: x",
		"version=1&rotateManagerToken=2":       "invalid value for rotateManagerToken: 2",
		"version=1&rotateManagerUnlockKey=yes": "invalid value for rotateManagerUnlockKey: yes",
	} {
		b.refused("POST", "/swarm/update?"+query, "{}", 400, want)
	}
	b.refused("POST", "/swarm/update?version=99", "{}", 500, "rpc error: code = Unknown desc = update out of sequence")
	sw.Spec.EncryptionConfig.AutoLockManagers = true
	if err := c.SwarmUpdate(t.Context(), sw.Version, sw.Spec, swarm.UpdateFlags{RotateWorkerToken: true}); err != nil {
		t.Fatal(err)
	}
	rotated, err := c.SwarmInspect(t.Context())
	if err != nil || rotated.JoinTokens.Worker == sw.JoinTokens.Worker || rotated.JoinTokens.Manager != sw.JoinTokens.Manager {
		t.Errorf("%+v, %v", rotated.JoinTokens, err)
	}
	if key, err := c.SwarmGetUnlockKey(t.Context()); err != nil || !strings.HasPrefix(key.UnlockKey, "SWMKEY-1-") {
		t.Errorf("%v, %v", key, err)
	}
	b.refused("POST", "/swarm/unlock", `{"UnlockKey":"x"}`, 409, "swarm is not locked")
	b.refused("POST", "/swarm/leave?force=0", "", 503, "You are attempting to leave the swarm on a node that is participating as a manager. "+
		"Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ")
	if status, _, text := b.do("POST", "/swarm/leave?force=1", ""); status != 200 || text != "" {
		t.Errorf("%d %s", status, text)
	}
}

func serviceSpec(name string, replicas uint64) swarm.ServiceSpec {
	return swarm.ServiceSpec{
		Annotations:  swarm.Annotations{Name: name},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: "weft/probe"}},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
	}
}

func TestServices(t *testing.T) {
	b := swarmed(t)
	if b.ok("GET", "/services", "") != "[]" || b.ok("GET", "/tasks", "") != "[]" {
		t.Error("empty lists are not []")
	}
	for _, v := range apiVersions {
		c := b.docker(v)
		name := "s" + strings.ReplaceAll(v, ".", "-")
		made, err := c.ServiceCreate(t.Context(), serviceSpec(name, 2), swarm.ServiceCreateOptions{QueryRegistry: v >= "1.30"})
		if err != nil || len(made.Warnings) != 0 {
			t.Fatalf("%s: %+v, %v", v, made, err)
		}
		s, _, err := c.ServiceInspectWithRaw(t.Context(), name, swarm.ServiceInspectOptions{})
		if err != nil || strings.Contains(s.Spec.TaskTemplate.ContainerSpec.Image, "@") {
			t.Fatalf("%s: %+v, %v", v, s.Spec.TaskTemplate.ContainerSpec, err)
		}
		list, err := c.ServiceList(t.Context(), swarm.ServiceListOptions{Status: true, Filters: filters.NewArgs(filters.Arg("name", name))})
		if err != nil || len(list) != 1 || (list[0].ServiceStatus != nil) != (v >= "1.41") {
			t.Errorf("%s: %+v, %v", v, list, err)
		}
		tasks, err := c.TaskList(t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", name))})
		if err != nil || len(tasks) != 2 {
			t.Fatalf("%s: %d tasks, %v", v, len(tasks), err)
		}
		if task, _, err := c.TaskInspectWithRaw(t.Context(), tasks[0].ID); err != nil || task.ServiceID != made.ID {
			t.Errorf("%s: %+v, %v", v, task, err)
		}
		if _, err := c.ServiceUpdate(t.Context(), s.ID, s.Version, serviceSpec(name, 5), swarm.ServiceUpdateOptions{}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if err := c.ServiceRemove(t.Context(), name); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
	b.refused("GET", "/services?status=maybe", "", 400, "invalid value for status: maybe")
	b.ok("GET", "/v1.40/services?status=maybe", "")
	b.refused("GET", "/services/x?insertDefaults=maybe", "", 400, "invalid value for insertDefaults: maybe")
	b.refused("GET", "/services/nope", "", 404, "service nope not found")
	b.refused("DELETE", "/services/nope", "", 404, "service nope not found")
	b.refused("POST", "/services/x/update?version=abc", "{}", 400, `invalid service version 'abc': strconv.ParseUint: parsing "abc": invalid syntax`)
	b.ok("POST", "/services/create", body(t, serviceSpec("a", 1)))
	b.refused("POST", "/services/create", body(t, serviceSpec("a", 1)), 409,
		"rpc error: code = AlreadyExists desc = name conflicts with an existing object: service a already exists")
}

func TestServiceRollback(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	if _, err := c.ServiceCreate(t.Context(), serviceSpec("a", 1), swarm.ServiceCreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		replicas uint64
		rollback string
		want     uint64
	}{{7, "", 7}, {9, "previous", 1}} {
		s, _, err := c.ServiceInspectWithRaw(t.Context(), "a", swarm.ServiceInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.ServiceUpdate(t.Context(), "a", s.Version, serviceSpec("a", step.replicas), swarm.ServiceUpdateOptions{Rollback: step.rollback})
		if err != nil {
			t.Fatal(err)
		}
		if s, _, err = c.ServiceInspectWithRaw(t.Context(), "a", swarm.ServiceInspectOptions{}); err != nil || *s.Spec.Mode.Replicated.Replicas != step.want {
			t.Errorf("%d, %v, want %d", *s.Spec.Mode.Replicated.Replicas, err, step.want)
		}
	}
}

// An older client can't mean what its API does not have.
func TestServiceSpecOfOlderAPI(t *testing.T) {
	const spec = `{"Name":"%","TaskTemplate":{"ContainerSpec":{"Image":"weft/probe","Sysctls":{"a":"b"},"CapabilityAdd":["CAP_NET_ADMIN"],
		"OomScoreAdj":5,"Configs":[null,{"Runtime":{}}],"Privileges":{"NoNewPrivileges":true,"CredentialSpec":{"Config":"c"}},
		"Healthcheck":{"StartInterval":7},"Mounts":[{"Type":"tmpfs","TmpfsOptions":{"Options":[["noexec"]]}}]},
		"Placement":{"MaxReplicas":3},"Resources":{"Limits":{"Pids":9}}},"Mode":{"ReplicatedJob":{}}}`
	for v, want := range map[string]string{
		"1.51": "sysctls caps oom runtime nnp cred start options max pids job",
		"1.45": "sysctls caps runtime nnp cred start max pids job",
		"1.43": "sysctls caps runtime cred max pids job",
		"1.40": "sysctls runtime cred max",
		"1.39": "",
	} {
		b := swarmed(t)
		b.ok("POST", "/v"+v+"/services/create", strings.Replace(spec, "%", "s", 1))
		s := parse[swarm.Service](t, b.ok("GET", "/services/s", ""))
		c := s.Spec.TaskTemplate.ContainerSpec
		var got []string
		for _, has := range []struct {
			name string
			is   bool
		}{
			{"sysctls", c.Sysctls != nil},
			{"caps", c.CapabilityAdd != nil},
			{"oom", c.OomScoreAdj != 0},
			{"runtime", c.Configs[1].Runtime != nil},
			{"nnp", c.Privileges.NoNewPrivileges},
			{"cred", c.Privileges.CredentialSpec.Config != ""},
			{"start", c.Healthcheck.StartInterval != 0},
			{"options", c.Mounts[0].TmpfsOptions.Options != nil},
			{"max", s.Spec.TaskTemplate.Placement.MaxReplicas != 0},
			{"pids", s.Spec.TaskTemplate.Resources.Limits.Pids != 0},
			{"job", s.Spec.Mode.ReplicatedJob != nil},
		} {
			if has.is {
				got = append(got, has.name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s keeps %v, want %s", v, got, want)
		}
	}
}

func TestNodes(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	nodes, err := c.NodeList(t.Context(), swarm.NodeListOptions{})
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%v, %v", nodes, err)
	}
	n, _, err := c.NodeInspectWithRaw(t.Context(), "self")
	if err != nil || n.ID != nodes[0].ID {
		t.Fatalf("%v, %v", n, err)
	}
	n.Spec.Availability = swarm.NodeAvailabilityDrain
	if err := c.NodeUpdate(t.Context(), n.ID, n.Version, n.Spec); err != nil {
		t.Fatal(err)
	}
	b.refused("POST", "/nodes/self/update?version="+strconv.FormatUint(n.Version.Index, 10), "{}", 500, "rpc error: code = Unknown desc = update out of sequence")
	b.refused("POST", "/nodes/self/update?version=x", "{}", 400, `invalid node version 'x': strconv.ParseUint: parsing "x": invalid syntax`)
	b.refused("GET", "/nodes/nope", "", 404, "node nope not found")
	b.refused("DELETE", "/nodes/nope?force=1", "", 404, "node nope not found")
}
