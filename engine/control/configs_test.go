package control_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

func configSpec(name string) swarm.ConfigSpec {
	return swarm.ConfigSpec{Annotations: swarm.Annotations{Name: name, Labels: map[string]string{"run": "1"}}, Data: []byte("host a")}
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	m, worker := newMember(t, "m"), newMember(t, "w")
	_, err := m.Configs(t.Context(), filters.NewArgs())
	refused(t, err, errdefs.IsUnavailable, "This node is not a swarm manager. Use \"docker swarm init\"")
	m.init(t)
	worker.join(t, m, false)
	_, err = worker.CreateConfig(t.Context(), configSpec("a"))
	refused(t, err, errdefs.IsUnavailable, "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state.")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := m.Watch(ctx)
	eventually(t, "the watch is there", func() bool { // an event before its beginning is lost
		id, err := m.CreateConfig(t.Context(), configSpec("probe"))
		if err != nil || m.RemoveConfig(t.Context(), id) != nil {
			t.Fatal(err)
		}
		select {
		case <-events:
			return true
		default:
			return false
		}
	})

	id, err := m.CreateConfig(t.Context(), configSpec("weft.lock"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.CreateConfig(t.Context(), configSpec("weft.lock"))
	refused(t, err, errdefs.IsConflict, "rpc error: code = AlreadyExists desc = config weft.lock already exists")
	for _, ref := range []string{id, "weft.lock", id[:10]} {
		c, err := m.Config(t.Context(), ref)
		if err != nil || c.ID != id || string(c.Spec.Data) != "host a" || c.CreatedAt.IsZero() {
			t.Errorf("%s: %+v %v", ref, c, err)
		}
	}
	for _, tc := range []struct {
		f    filters.KeyValuePair
		want int
	}{
		{filters.Arg("name", "weft"), 1},
		{filters.Arg("name", "lock"), 0},
		{filters.Arg("id", id[:5]), 1},
		{filters.Arg("label", "run=1"), 1},
		{filters.Arg("label", "run=2"), 0},
	} {
		if list, err := m.Configs(t.Context(), filters.NewArgs(tc.f)); err != nil || len(list) != tc.want {
			t.Errorf("%v: %v %v", tc.f, list, err)
		}
	}
	_, err = m.Configs(t.Context(), filters.NewArgs(filters.Arg("names", "x")))
	refused(t, err, errdefs.IsInvalidArgument, "invalid filter 'names'")
	badConfigs(t, m)
	changeConfig(t, m, id)
	if err := m.RemoveConfig(t.Context(), "weft.lock"); err != nil {
		t.Fatal(err)
	}
	refused(t, m.RemoveConfig(t.Context(), "weft.lock"), errdefs.IsNotFound, "config weft.lock not found")
	wantEvents(t, events, "config create", "config update", "config remove")
}

func badConfigs(t *testing.T, m *member) {
	t.Helper()
	for _, tc := range []struct{ name, data, want string }{
		{"", "x", "name must be provided"},
		{"a b", "x", "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"},
		{strings.Repeat("a", 65), "x", "invalid name, only 64"},
		{"a", "", "config data must be larger than 0 and less than 1024000 bytes"},
		{"a", strings.Repeat("x", 1024000), "config data must be larger than 0 and less than 1024000 bytes"},
	} {
		_, err := m.CreateConfig(t.Context(), swarm.ConfigSpec{Annotations: swarm.Annotations{Name: tc.name}, Data: []byte(tc.data)})
		refused(t, err, errdefs.IsInvalidArgument, "rpc error: code = InvalidArgument desc = "+tc.want)
	}
}

func changeConfig(t *testing.T, m *member, id string) {
	t.Helper()
	c, err := m.Config(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	c.Spec.Labels["run"] = "2"
	if err := m.UpdateConfig(t.Context(), id, c.Version.Index, c.Spec); err != nil {
		t.Fatal(err)
	}
	refused(t, m.UpdateConfig(t.Context(), id, c.Version.Index, c.Spec), errdefs.IsInternal, "rpc error: code = Unknown desc = update out of sequence")
	now, err := m.Config(t.Context(), id)
	if err != nil || now.Spec.Labels["run"] != "2" {
		t.Errorf("%+v %v", now, err)
	}
	now.Spec.Data = []byte("other")
	refused(t, m.UpdateConfig(t.Context(), id, now.Version.Index, now.Spec), errdefs.IsInvalidArgument, "only updates to Labels are allowed")
	refused(t, m.UpdateConfig(t.Context(), "nope", 1, now.Spec), errdefs.IsNotFound, "config nope not found")
}

// TestConfigIsALock has all managers ask for one name at once: one gets it.
func TestConfigIsALock(t *testing.T) {
	t.Parallel()
	a, b, c := newMember(t, "a"), newMember(t, "b"), newMember(t, "c")
	a.init(t)
	b.join(t, a, true)
	c.join(t, a, true)
	all := []*member{a, b, c}
	for _, m := range all {
		eventually(t, "all are managers", func() bool { return m.Info(t.Context()).Managers == 3 })
	}
	for round := range 5 {
		var mu sync.Mutex
		var got, refusals int
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				_, err := all[i%3].CreateConfig(t.Context(), configSpec("lock"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					got++
				case errdefs.IsConflict(err):
					refusals++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got != 1 || refusals != 11 {
			t.Errorf("round %d: %d got it, %d were refused", round, got, refusals)
		}
		if err := all[round%3].RemoveConfig(t.Context(), "lock"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConfigOfAService: no container of this engine gets files from the swarm,
// and the task says so.
func TestConfigOfAService(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.init(t)
	mkNetwork(t, m, "net", network.IPAMConfig{Subnet: "10.90.0.0/24"})
	id, err := m.CreateConfig(t.Context(), configSpec("a"))
	if err != nil {
		t.Fatal(err)
	}
	spec := serviceSpec("web", "net", 1)
	spec.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone}
	spec.TaskTemplate.ContainerSpec.Configs = []*swarm.ConfigReference{{
		ConfigID: id, ConfigName: "a", File: &swarm.ConfigReferenceFileTarget{Name: "/a", UID: "0", GID: "0", Mode: 0o444},
	}}
	if _, err := m.CreateService(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task is rejected with the reason", func() bool {
		tasks, err := m.Tasks(t.Context(), filters.NewArgs(filters.Arg("service", "web")))
		return err == nil && len(tasks) == 1 && strings.Contains(tasks[0].Status.Err, "this engine cannot run tasks with configs")
	})
	refused(t, m.RemoveConfig(t.Context(), "a"), errdefs.IsInvalidArgument, "config 'a' is in use by the following service: web")
	if err := m.RemoveService(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if err := m.RemoveConfig(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}
