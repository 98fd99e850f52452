package dockerapi_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
)

func TestLifeOfAContainer(t *testing.T) {
	for _, v := range apiVersions {
		b := swarmed(t)
		c := b.docker(v)
		config := &container.Config{Image: "weft/probe", Cmd: []string{"serve", "a b"}, Labels: map[string]string{"x": "y"}}
		made, err := c.ContainerCreate(t.Context(), config, &container.HostConfig{NetworkMode: "red"}, nil, nil, "web")
		if err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		listed := func() container.Summary {
			all, err := c.ContainerList(t.Context(), container.ListOptions{All: true})
			if err != nil || len(all) != 1 {
				t.Fatalf("%s: %v, %v", v, all, err)
			}
			return all[0]
		}
		if got := listed(); got.Status != "Created" || got.State != "created" || got.Names[0] != "/web" || got.Command != "/probe serve 'a b'" {
			t.Errorf("%s: %+v", v, got)
		}
		if running, _ := c.ContainerList(t.Context(), container.ListOptions{}); len(running) != 0 {
			t.Errorf("%s: listed before it runs", v)
		}
		if err := c.ContainerStart(t.Context(), "web", container.StartOptions{}); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if got := listed(); !strings.HasPrefix(got.Status, "Up ") || got.NetworkSettings.Networks["red"].IPAddress != "10.0.1.2" || got.HostConfig.NetworkMode != "red" {
			t.Errorf("%s: %+v", v, got)
		}
		if err := c.ContainerStop(t.Context(), made.ID[:12], container.StopOptions{}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if got := listed(); !strings.HasPrefix(got.Status, "Exited (143) ") || !strings.HasSuffix(got.Status, " ago") {
			t.Errorf("%s: %+v", v, got)
		}
		if err := c.ContainerRestart(t.Context(), "web", container.StopOptions{}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if err := c.ContainerRename(t.Context(), "web", "shop"); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if err := c.ContainerRemove(t.Context(), "shop", container.RemoveOptions{Force: true}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		if strings.Contains(b.String(), "container") {
			t.Errorf("%s: left:\n%s", v, b)
		}
	}
}

func TestContainerErrors(t *testing.T) {
	b := swarmed(t)
	id := b.run(t, "web", "red")
	for _, r := range []string{
		"GET /containers/nope/json", "POST /containers/nope/start", "POST /containers/nope/stop", "POST /containers/nope/restart",
		"POST /containers/nope/wait", "DELETE /containers/nope", "POST /containers/nope/rename?name=x", "GET /containers/nope/logs?stdout=1",
		"POST /containers/nope/attach", "POST /containers/nope/resize?h=1&w=1",
	} {
		method, path, _ := strings.Cut(r, " ")
		b.refused(method, path, "", 404, "No such container: nope")
	}
	b.refused("POST", "/containers/nope/kill", "", 404, "cannot kill container: nope: No such container: nope")
	b.refused("POST", "/containers/web/kill?signal=FOO", "", 400, "cannot kill container: web: invalid signal: FOO")
	b.refused("DELETE", "/containers/web", "", 409, `cannot remove container "/web": container is running: stop the container before removing or force remove`)
	b.refused("POST", "/containers/web/rename", "", 400, "Neither old nor new names may be empty")
	b.refused("POST", "/containers/web/start", `{"Binds":[]}`, 400, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	b.refused("POST", "/containers/web/wait?condition=weird", "", 400, `invalid condition: "weird"`)
	b.refused("GET", "/containers/web/logs", "", 400, "Bad parameters: you must choose at least one stream")
	b.refused("GET", "/containers/web/logs?stdout=1&since=x", "", 400, `invalid time "x": strconv.ParseInt: parsing "x": invalid syntax`)
	b.refused("POST", "/containers/web/resize?h=x&w=3", "", 400, `invalid resize height "x": invalid syntax`)
	b.refused("POST", "/containers/web/stop?t=x", "", 400, `invalid timeout "x": strconv.Atoi: parsing "x": invalid syntax`)
	b.refused("POST", "/containers/web/attach?detachKeys=nonsense", "", 400, "Invalid detach keys (nonsense) provided")
	b.refused("DELETE", "/containers/web?link=1", "", 501, "this engine has no links: containers of one network find each other by name")
	b.ok("POST", "/containers/web/resize?h=24&w=80", "")
	if status, _, text := b.do("POST", "/containers/web/start", ""); status != 304 || text != "" {
		t.Errorf("start of a running one: %d %q", status, text)
	}
	b.ok("POST", "/containers/web/stop?t=0", "")
	if status, _, text := b.do("POST", "/containers/web/stop", ""); status != 304 || text != "" {
		t.Errorf("stop of a stopped one: %d %q", status, text)
	}
	b.refused("POST", "/containers/web/kill", "", 409, "cannot kill container: web: container "+id+" is not running")
	b.refused("POST", "/containers/web/resize?h=24&w=80", "", 409, "container "+id+" is not running")
	status, _, text := b.do("POST", "/containers/create?name=web", `{"Image":"weft/probe"}`)
	if want := `Conflict. The container name \"/web\" is already in use by container`; status != 409 || !strings.Contains(text, want) {
		t.Errorf("%d %s", status, text)
	}
	b.refused("POST", "/containers/create", `{"Image":"busybox"}`, 404, "No such image: busybox:latest")
	b.ok("POST", "/containers/create?name=once", `{"Image":"weft/probe","HostConfig":{"AutoRemove":true,"NetworkMode":"none"}}`)
	b.refused("POST", "/containers/once/restart", "", 409, "container once is removed when it stops (--rm): run it anew instead of restarting it")
}

func TestContainerFilters(t *testing.T) {
	b := swarmed(t)
	oldest := b.run(t, "oldest", "red")
	b.run(t, "failed", "blue", "exit", "3")
	eventually(t, "failed has ended", func() bool { return strings.Contains(b.String(), "container failed exited") })
	b.ok("POST", "/containers/create?name=newest", `{"Image":"weft/probe:latest","Labels":{"a":"1"},"HostConfig":{"NetworkMode":"none"}}`)
	red := parse[network.Inspect](t, b.ok("GET", "/networks/red", "")).ID
	for _, c := range []struct {
		filter string
		all    bool
		limit  int
		want   string
	}{
		{"", false, 0, "oldest"},
		{"", true, 0, "newest failed oldest"},
		{"", false, 2, "newest failed"},
		{"name=e", true, 0, "newest failed oldest"},
		{"name=^/old", true, 0, "oldest"},
		{"name=^old", true, 0, "oldest"},
		{"id=" + oldest[:6], true, 0, "oldest"},
		{"status=exited", false, 0, "failed"},
		{"status=created status=running", false, 0, "newest oldest"},
		{"exited=3", true, 0, "failed"},
		{"exited=0", true, 0, ""},
		{"label=a", true, 0, "newest"},
		{"label=a=2", true, 0, ""},
		{"network=red", true, 0, "oldest"},
		{"network=" + red[:8], true, 0, "oldest"},
		{"network=none network=blue", true, 0, "newest failed"},
		{"ancestor=weft/probe", true, 0, "newest failed oldest"},
		{"ancestor=docker.io/weft/probe:latest", true, 0, "newest failed oldest"},
		{"ancestor=busybox", true, 0, ""},
		{"before=newest", true, 0, "failed oldest"},
		{"since=oldest", true, 0, "newest failed"},
		{"since=oldest before=newest", true, 0, "failed"},
		{"is-task=true", true, 0, ""},
		{"is-task=false", true, 0, "newest failed oldest"},
		{"health=none", true, 0, "newest failed oldest"},
		{"health=healthy", true, 0, ""},
		{"volume=x", true, 0, ""},
		{"publish=80/tcp", true, 0, ""},
		{"expose=80-90", true, 0, ""},
		{"isolation=default", true, 0, "newest failed oldest"},
	} {
		args := filters.NewArgs()
		for kv := range strings.FieldsSeq(c.filter) {
			k, v, _ := strings.Cut(kv, "=")
			args.Add(k, v)
		}
		list, err := b.docker("").ContainerList(t.Context(), container.ListOptions{All: c.all, Limit: c.limit, Filters: args})
		var got []string
		for _, ctr := range list {
			got = append(got, ctr.Names[0][1:])
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q all=%v limit=%d: %v, %v, want %q", c.filter, c.all, c.limit, got, err, c.want)
		}
	}
	for filter, want := range map[string]string{
		`{"nosuch":["x"]}`:    "invalid filter 'nosuch'",
		`{"exited":["x"]}`:    `invalid filter 'exited=x': strconv.Atoi: parsing "x": invalid syntax`,
		`{"status":["x"]}`:    "invalid filter 'status=x': invalid value for state (x): must be one of created, running, paused, restarting, removing, exited, dead",
		`{"publish":["1:2"]}`: "filter for 'publish' should not contain ':': 1:2",
	} {
		b.refused("GET", "/containers/json?filters="+url.QueryEscape(filter), "", 400, want)
	}
	for _, key := range []string{"before", "since"} {
		b.refused("GET", "/containers/json?filters="+url.QueryEscape(`{"`+key+`":["nope"]}`), "", 404, "No such container: nope")
	}
	b.refused("GET", "/containers/json?limit=x", "", 400, `invalid limit "x": strconv.Atoi: parsing "x": invalid syntax`)
}

func TestContainerInspect(t *testing.T) {
	b := swarmed(t)
	made := parse[container.CreateResponse](t, b.ok("POST", "/containers/create?name=/web", `{
		"Image":"weft/probe","Cmd":["serve"],"Env":["A=b"],"StopTimeout":0,"StopSignal":"SIGINT","User":"nobody","WorkingDir":"/tmp",
		"HostConfig":{"NetworkMode":"red","AutoRemove":true},
		"NetworkingConfig":{"EndpointsConfig":{"red":{"Aliases":["www"],"IPAMConfig":{"IPv4Address":"10.0.1.9"}},"blue":null}}}`))
	before := parse[container.InspectResponse](t, b.ok("GET", "/containers/web/json?size=1", ""))
	if ep := before.NetworkSettings.Networks["red"]; ep == nil || ep.IPAMConfig.IPv4Address != "10.0.1.9" || ep.EndpointID != "" || before.SizeRw == nil {
		t.Errorf("before the start: %+v", ep)
	}
	b.ok("POST", "/containers/web/start", "")
	got := parse[container.InspectResponse](t, b.ok("GET", "/containers/web/json", ""))
	ep := got.NetworkSettings.Networks["red"]
	if ep.IPAddress != "10.0.1.9" || ep.IPPrefixLen != 24 || ep.Gateway != "10.0.1.1" || ep.MacAddress != "02:42:0a:00:01:09" || len(ep.EndpointID) != 64 || len(ep.NetworkID) != 25 {
		t.Errorf("%+v", ep)
	}
	if strings.Join(ep.Aliases, " ") != "www" || strings.Join(ep.DNSNames, " ") != "web www "+made.ID[:12] {
		t.Errorf("names: %v %v", ep.Aliases, ep.DNSNames)
	}
	if got.Path != "/probe" || strings.Join(got.Args, " ") != "serve" || got.Config.Hostname != made.ID[:12] || *got.Config.StopTimeout != 0 ||
		got.Config.StopSignal != "SIGINT" || got.HostConfig.NetworkMode != "red" || !got.HostConfig.AutoRemove || !got.State.Running || got.State.Pid == 0 {
		t.Errorf("%+v %+v %+v", got.ContainerJSONBase, got.Config, got.State)
	}
	if _, err := time.Parse(time.RFC3339Nano, got.Created); err != nil {
		t.Error(err)
	}
	old := parse[container.InspectResponse](t, b.ok("GET", "/v1.41/containers/web/json", ""))
	if a := strings.Join(old.NetworkSettings.Networks["red"].Aliases, " "); a != "www "+made.ID[:12] {
		t.Errorf("1.41 aliases: %s", a)
	}
	raw := parse[object](t, b.ok("GET", "/containers/web/json", ""))
	if mounts, ok := raw["Mounts"].([]any); !ok || len(mounts) != 0 {
		t.Errorf("Mounts: %v", raw["Mounts"])
	}
	if ports, ok := raw["NetworkSettings"].(object)["Ports"].(object); !ok || len(ports) != 0 {
		t.Errorf("Ports: %v", ports)
	}
}

func TestWait(t *testing.T) {
	for _, v := range []string{"1.30", "1.41", "1.51"} {
		b := swarmed(t)
		c := b.docker(v)
		b.ok("POST", "/containers/create?name=job", `{"Image":"weft/probe","Cmd":["exit","7"],"HostConfig":{"NetworkMode":"none","AutoRemove":true}}`)
		// The client gets the header before the container ends: ContainerWait
		// returns only then.
		next, nextErr := c.ContainerWait(t.Context(), "job", container.WaitConditionNextExit)
		gone, goneErr := c.ContainerWait(t.Context(), "job", container.WaitConditionRemoved)
		b.ok("POST", "/containers/job/start", "")
		for range 2 {
			select {
			case r := <-next:
				if r.StatusCode != 7 || r.Error != nil {
					t.Errorf("%s: %+v", v, r)
				}
			case r := <-gone:
				if r.StatusCode != 7 {
					t.Errorf("%s: %+v", v, r)
				}
			case err := <-nextErr:
				t.Fatal(err)
			case err := <-goneErr:
				t.Fatal(err)
			}
		}
	}
}

func TestWaitOfOlderAPI(t *testing.T) {
	b := swarmed(t)
	b.run(t, "job", "none", "exit", "7")
	for v, whole := range map[string]bool{"1.29": true, "1.30": false} {
		status, h, got := b.do("POST", "/v"+v+"/containers/job/wait", "")
		// A header sent ahead can't tell the length.
		if status != 200 || got != `{"StatusCode":7}` || (h.Get("Content-Length") != "") != whole {
			t.Errorf("%s: %d %s %v", v, status, got, h)
		}
	}
	b.ok("POST", "/v1.29/containers/job/wait?condition=ignored", "")
}

func TestContainersPrune(t *testing.T) {
	b := swarmed(t)
	b.run(t, "web", "red")
	b.ok("POST", "/containers/create?name=a", `{"Image":"weft/probe","Labels":{"keep":""}}`)
	b.ok("POST", "/containers/create?name=b", `{"Image":"weft/probe"}`)
	r, err := b.docker("").ContainersPrune(t.Context(), filters.NewArgs(filters.Arg("label!", "keep")))
	if err != nil || len(r.ContainersDeleted) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := b.String(); !strings.Contains(got, "container a created\ncontainer web running\n") || strings.Contains(got, "container b") {
		t.Error(got)
	}
}

func TestImages(t *testing.T) {
	b := newBed(t)
	c := b.docker("")
	all, err := c.ImageList(t.Context(), image.ListOptions{})
	if err != nil || len(all) != 1 || all[0].RepoTags[0] != "weft/probe:latest" {
		t.Errorf("%+v, %v", all, err)
	}
	for filter, want := range map[string]int{
		`{"reference":["weft/*"]}`: 1, `{"reference":["busybox"]}`: 0, `{"dangling":["true"]}`: 0, `{"label":["x"]}`: 0,
	} {
		if got := parse[[]object](t, b.ok("GET", "/images/json?filters="+url.QueryEscape(filter), "")); len(got) != want {
			t.Errorf("%s: %d", filter, len(got))
		}
	}
	for _, name := range []string{"weft/probe", "weft/probe:latest", "docker.io/weft/probe", all[0].ID, all[0].ID[7:19]} {
		got, err := c.ImageInspect(t.Context(), name)
		if err != nil || got.ID != all[0].ID || got.Config.Entrypoint[0] != "/probe" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := c.ImageInspect(t.Context(), "busybox"); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	b.refused("GET", "/images/busybox/json", "", 404, "No such image: busybox:latest")
	b.refused("GET", "/images/weft/probe:2/json", "", 404, "No such image: weft/probe:2")
	b.refused("POST", "/images/create?fromImage=busybox&tag=latest", "", 404, "pull access denied for docker.io/library/busybox:latest, "+
		"repository does not exist or may require 'docker login': denied")
	b.refused("POST", "/images/create?fromImage=UPPER", "", 400, "invalid reference format: repository name (library/UPPER) must be lowercase")
	b.refused("POST", "/images/create?fromSrc=http://x/y", "", 501, `this engine does not fetch "http://x/y": send the archive itself`)
	if got := b.ok("POST", "/images/create?fromImage=weft/probe&tag=latest", ""); got != `{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"0123456789ab"}`+"\n"+
		`{"status":"Status: Image is up to date for weft/probe:latest"}` {
		t.Error(got)
	}
	if _, err := c.DistributionInspect(t.Context(), "busybox", ""); err == nil || errors.Is(err, t.Context().Err()) {
		t.Errorf("%v", err)
	}
}
