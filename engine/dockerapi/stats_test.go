package dockerapi_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

func TestCLIStats(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		c.says("run", "-d", "--name", "web", "--network", "none", "weft/probe")
		c.says("create", "--name", "idle", "--network", "none", "weft/probe")
		const format = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.PIDs}}"
		if out := c.says("stats", "--no-stream", "--format", format, "web"); out != "web 100.00% 2MiB / 8MiB 25.00% 3" {
			t.Error(out)
		}
		if out := c.says("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "idle"); out != "idle 0" {
			t.Error(out)
		}
		c.fails(1, "No such container: nope", "stats", "--no-stream", "nope")
	})
}

func TestStatsStream(t *testing.T) {
	b := newBed(t)
	api := b.docker("1.51")
	created, err := api.ContainerCreate(t.Context(), &container.Config{Image: "weft/probe"}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "web")
	if err != nil {
		t.Fatal(err)
	}
	if err := api.ContainerStart(t.Context(), created.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	body, err := api.ContainerStats(t.Context(), "web", true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Body.Close() }()
	dec := json.NewDecoder(body.Body)
	next := func() (st container.StatsResponse) {
		t.Helper()
		if err := dec.Decode(&st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	first, second := next(), next()
	if first.Name != "/web" || first.ID != created.ID || !first.PreRead.IsZero() || second.PreCPUStats.CPUUsage.TotalUsage != first.CPUStats.CPUUsage.TotalUsage {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	if err := api.ContainerKill(t.Context(), "web", ""); err != nil {
		t.Fatal(err)
	}
	for stopped := next(); !stopped.Read.IsZero(); stopped = next() {
	}
	if err := api.ContainerRemove(t.Context(), "web", container.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; err = dec.Decode(&first) { // it ends with the container
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	b.refused("GET", "/v1.51/containers/x/stats?stream=1&one-shot=1", "", 400, "cannot have stream=true and one-shot=true")
	begin := time.Now()
	b.ok("POST", "/v1.51/containers/create?name=other", `{"Image":"weft/probe","HostConfig":{"NetworkMode":"none"}}`)
	b.ok("GET", "/v1.51/containers/other/stats?stream=0&one-shot=1", "")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("one shot took %v", took)
	}
}
