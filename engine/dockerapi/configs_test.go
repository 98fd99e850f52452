package dockerapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

func configSpec(name string, labels map[string]string) swarm.ConfigSpec {
	return swarm.ConfigSpec{Annotations: swarm.Annotations{Name: name, Labels: labels}, Data: []byte("held by " + name)}
}

func TestConfigs(t *testing.T) {
	b := swarmed(t)
	if b.ok("GET", "/configs", "") != "[]" {
		t.Error("an empty list is not []")
	}
	for _, v := range []string{"1.30", "1.41", "1.51"} { // docker's client has no configs before 1.30
		c := b.docker(v)
		made, err := c.ConfigCreate(t.Context(), configSpec("lock-"+v, nil))
		if err != nil || len(made.ID) != 25 {
			t.Fatalf("%s: %+v, %v", v, made, err)
		}
		for _, ref := range []string{made.ID, "lock-" + v, made.ID[:20]} {
			got, raw, err := c.ConfigInspectWithRaw(t.Context(), ref)
			if err != nil || got.ID != made.ID || string(got.Spec.Data) != "held by lock-"+v || !strings.Contains(string(raw), `"Labels":{}`) {
				t.Errorf("%s %s: %s, %v", v, ref, raw, err)
			}
		}
		if _, err := c.ConfigCreate(t.Context(), configSpec("lock-"+v, nil)); !errdefs.IsConflict(err) {
			t.Errorf("%s: a second one: %v", v, err)
		}
		if err := c.ConfigRemove(t.Context(), "lock-"+v); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if _, _, err := c.ConfigInspectWithRaw(t.Context(), made.ID); !errdefs.IsNotFound(err) {
			t.Errorf("%s: after its removal: %v", v, err)
		}
	}
	status, _, text := b.do("POST", "/configs/create", `{"Name":"a","Data":"eA=="}`)
	if id := parse[swarm.ConfigCreateResponse](t, text).ID; status != 201 || id == "" {
		t.Errorf("%d %s", status, text)
	}
	got := parse[object](t, b.ok("GET", "/configs/a", ""))
	for _, k := range []string{"ID", "Version", "CreatedAt", "UpdatedAt", "Spec"} {
		if _, ok := got[k]; !ok {
			t.Errorf("no %s in %v", k, got)
		}
	}
	if status, _, text := b.do("DELETE", "/configs/a", ""); status != 204 || text != "" {
		t.Errorf("%d %s", status, text)
	}
}

func TestConfigFilters(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	ids := map[string]string{}
	for name, labels := range map[string]map[string]string{"red": {"color": "red"}, "reddish": {"color": "red", "new": ""}, "blue": nil} {
		made, err := c.ConfigCreate(t.Context(), configSpec(name, labels))
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = made.ID
	}
	for _, f := range []struct {
		args []filters.KeyValuePair
		want int
	}{
		{nil, 3},
		{[]filters.KeyValuePair{filters.Arg("name", "red")}, 2},
		{[]filters.KeyValuePair{filters.Arg("name", "reddish")}, 1},
		{[]filters.KeyValuePair{filters.Arg("name", "eddish")}, 0},
		{[]filters.KeyValuePair{filters.Arg("label", "color")}, 2},
		{[]filters.KeyValuePair{filters.Arg("label", "color=blue")}, 0},
		{[]filters.KeyValuePair{filters.Arg("id", ids["blue"])}, 1},
		{[]filters.KeyValuePair{filters.Arg("id", ids["blue"]), filters.Arg("name", "red")}, 3},
		{[]filters.KeyValuePair{filters.Arg("label", "new"), filters.Arg("name", "red")}, 1},
	} {
		got, err := c.ConfigList(t.Context(), swarm.ConfigListOptions{Filters: filters.NewArgs(f.args...)})
		if err != nil || len(got) != f.want {
			t.Errorf("%v: %d configs, %v, want %d", f.args, len(got), err, f.want)
		}
	}
	b.refused("GET", "/configs?filters="+url.QueryEscape(`{"names":["red"]}`), "", 400, "invalid filter 'names'")
}

func TestConfigRefusals(t *testing.T) {
	b := newBed(t)
	outside := `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`
	for _, r := range []string{"GET /configs", "POST /configs/create", "GET /configs/x", "DELETE /configs/x", "POST /configs/x/update?version=1"} {
		method, path, _ := strings.Cut(r, " ")
		b.refused(method, path, map[bool]string{true: "{}"}[method == "POST"], 503, outside)
	}
	b.ok("POST", "/swarm/init", "{}")
	invalid := "rpc error: code = InvalidArgument desc = "
	for spec, want := range map[string]string{
		`{"Data":"eA=="}`:             invalid + "name must be provided",
		`{"Name":"-a","Data":"eA=="}`: invalid + "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
		`{"Name":"` + strings.Repeat("a", 65) + `","Data":"eA=="}`: invalid + "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
		`{"Name":"a"}`: invalid + "config data must be larger than 0 and less than 1024000 bytes",
		`{"Name":"a","Data":"` + strings.Repeat("AAAA", 1024000/3+1) + `"}`: invalid + "config data must be larger than 0 and less than 1024000 bytes",
	} {
		b.refused("POST", "/configs/create", spec, 400, want)
	}
	b.refused("POST", "/v1.36/configs/create", `{"Name":"a","Data":"eA==","Templating":{"Name":"golang"}}`, 400,
		"config templating is not supported on the specified API version: 1.36")
	b.ok("POST", "/v1.37/configs/create", `{"Name":"a","Data":"eA==","Templating":{"Name":"golang"}}`)
	b.refused("POST", "/configs/create", `{"Name":"A","Data":"eQ=="}`, 409, "rpc error: code = AlreadyExists desc = config A already exists")
	b.refused("GET", "/configs/nope", "", 404, "config nope not found")
	b.refused("DELETE", "/configs/nope", "", 404, "config nope not found")
	for query, want := range map[string]string{"": "invalid config version", "?version=-1": "invalid config version"} {
		b.refused("POST", "/configs/a/update"+query, "{}", 400, want)
	}
}

func TestConfigUpdate(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	made, err := c.ConfigCreate(t.Context(), configSpec("a", nil))
	if err != nil {
		t.Fatal(err)
	}
	before, _, err := c.ConfigInspectWithRaw(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	spec := before.Spec
	spec.Labels = map[string]string{"step": "2"}
	if err := c.ConfigUpdate(t.Context(), "a", before.Version, spec); err != nil {
		t.Fatal(err)
	}
	after, _, err := c.ConfigInspectWithRaw(t.Context(), "a")
	if err != nil || after.Spec.Labels["step"] != "2" || after.Version.Index <= before.Version.Index {
		t.Errorf("%+v, %v", after, err)
	}
	old := fmt.Sprintf("/configs/a/update?version=%d", before.Version.Index)
	b.refused("POST", old, `{"Name":"a"}`, 500, "rpc error: code = Unknown desc = update out of sequence")
	only := "rpc error: code = InvalidArgument desc = only updates to Labels are allowed"
	now := fmt.Sprintf("/configs/a/update?version=%d", after.Version.Index)
	b.refused("POST", now, `{"Name":"b"}`, 400, only)
	b.refused("POST", now, `{"Name":"a","Data":"eA=="}`, 400, only)
}

// TestConfigIsALock has many ask for one name: one gets it.
func TestConfigIsALock(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	var got, refused atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch _, err := c.ConfigCreate(t.Context(), configSpec("weft.lock", nil)); {
			case err == nil:
				got.Add(1)
			case errdefs.IsConflict(err):
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d got the lock, %d were refused", got.Load(), refused.Load())
	}
}

func TestConfigInUse(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	made, err := c.ConfigCreate(t.Context(), configSpec("a", nil))
	if err != nil {
		t.Fatal(err)
	}
	spec := serviceSpec("web", 1)
	spec.TaskTemplate.ContainerSpec.Configs = []*swarm.ConfigReference{{ConfigID: made.ID, ConfigName: "a"}}
	if _, err := c.ServiceCreate(t.Context(), spec, swarm.ServiceCreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.refused("DELETE", "/configs/a", "", 400, "rpc error: code = InvalidArgument desc = config 'a' is in use by the following service: web")
	if err := c.ServiceRemove(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigRemove(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestConfigEvents(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	stream, errs := c.Events(t.Context(), events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "config"), filters.Arg("scope", "swarm"))})
	eventually(t, "the stream is open", func() bool { return b.Subscribers() == 1 })
	made, err := c.ConfigCreate(t.Context(), configSpec("a", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigRemove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, action := range []events.Action{"create", "remove"} {
		select {
		case e := <-stream:
			if e.Type != "config" || e.Action != action || e.Actor.ID != made.ID || e.Actor.Attributes["name"] != "a" || e.Scope != "swarm" {
				t.Errorf("%+v, want %s", e, action)
			}
		case err := <-errs:
			t.Fatal(err)
		}
	}
}
