package dockerapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"

	"weft/engine/model"
)

func TestEvents(t *testing.T) {
	b := newBed(t)
	c := b.docker("")
	ctx, cancel := context.WithCancel(t.Context())
	f := filters.NewArgs(filters.Arg("type", "network"), filters.Arg("event", "create"))
	messages, errs := c.Events(ctx, events.ListOptions{Filters: f})
	eventually(t, "the stream is open", func() bool { return b.Subscribers() == 1 })
	b.Publish(model.Event{Type: "network", Action: "destroy", ActorID: "1"})
	b.Publish(model.Event{Type: "volume", Action: "create", ActorID: "2"})
	b.Publish(model.Event{Type: "network", Action: "create", ActorID: "3", Scope: model.ScopeSwarm, Attributes: map[string]string{"name": "red"}})
	select {
	case m := <-messages:
		if m.Actor.ID != "3" || m.Scope != "swarm" || m.TimeNano == 0 || m.Actor.Attributes["name"] != "red" {
			t.Errorf("%+v", m)
		}
	case err := <-errs:
		t.Fatal(err)
	}
	cancel()
	eventually(t, "the stream ends with its client", func() bool { return b.Subscribers() == 0 })
}

func TestEventFilters(t *testing.T) {
	b := newBed(t)
	for _, e := range []model.Event{
		{Type: "container", Action: "create", ActorID: "c1", Scope: "local", Attributes: map[string]string{"name": "web", "image": "weft/probe:latest", "color": "red"}},
		{Type: "container", Action: "health_status: healthy", ActorID: "c2", Scope: "local", Attributes: map[string]string{"name": "db", "image": "other"}},
		{Type: "network", Action: "create", ActorID: "n1", Scope: "swarm", Attributes: map[string]string{"name": "net"}},
		{Type: "node", Action: "update", ActorID: "d1", Scope: "swarm"},
	} {
		b.Publish(e)
	}
	until := fmt.Sprintf("%d.%09d", time.Now().Unix(), time.Now().Nanosecond())
	for _, c := range []struct{ filters, want string }{
		{``, "c1 c2 n1 d1"},
		{`{"type":["network","node"]}`, "n1 d1"},
		{`{"event":["create"]}`, "c1 n1"},
		{`{"event":["health_status"]}`, "c2"},
		{`{"container":["web"]}`, "c1"},
		{`{"container":["c"]}`, "c1 c2"},
		{`{"network":["net"]}`, "n1"},
		{`{"node":["d1"]}`, "d1"},
		{`{"image":["weft/probe"]}`, "c1"},
		{`{"image":["weft/probe:latest"]}`, "c1"},
		{`{"label":["color=red"]}`, "c1"},
		{`{"scope":["swarm"]}`, "n1 d1"},
		{`{"service":["x"]}`, ""},
	} {
		var got []string
		for line := range strings.Lines(b.ok("GET", "/events?until="+until+"&filters="+url.QueryEscape(c.filters), "")) {
			got = append(got, parse[events.Message](t, line).Actor.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.filters, got, c.want)
		}
	}
	first := parse[object](t, strings.SplitN(b.ok("GET", "/events?since=1&until="+until, ""), "\n", 2)[0])
	if first["status"] != "create" || first["id"] != "c1" || first["from"] != "weft/probe:latest" || first["Actor"].(object)["ID"] != "c1" {
		t.Errorf("%v", first)
	}
	b.refused("GET", "/events?since=2&until=1", "", 400, "`since` time (2) cannot be after `until` time (1)")
	b.refused("GET", "/events?since=x", "", 400, `invalid time "x": strconv.ParseInt: parsing "x": invalid syntax`)
	soon := time.Now().Add(30 * time.Millisecond)
	if got := b.ok("GET", fmt.Sprintf("/events?until=%d.%09d&filters=%s", soon.Unix(), soon.Nanosecond(), url.QueryEscape(`{"type":["x"]}`)), ""); got != "" || time.Now().Before(soon) {
		t.Errorf("%q, %v early", got, time.Until(soon))
	}
}

func TestLogs(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	b.run(t, "out", "none", "echo", "hello")
	b.run(t, "err", "none", "err", "oh no")
	eventually(t, "both have ended", func() bool { return strings.Count(b.String(), " exited") == 2 })
	read := func(name string, opts container.LogsOptions) (string, string) {
		r, err := c.ContainerLogs(t.Context(), name, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var out, errs bytes.Buffer
		if _, err := stdcopy.StdCopy(&out, &errs, r); err != nil {
			t.Fatal(err)
		}
		return out.String(), errs.String()
	}
	both := container.LogsOptions{ShowStdout: true, ShowStderr: true}
	if out, errs := read("out", both); out != "hello\n" || errs != "" {
		t.Errorf("%q %q", out, errs)
	}
	if out, errs := read("err", both); out != "" || errs != "oh no\n" {
		t.Errorf("%q %q", out, errs)
	}
	for _, opts := range []container.LogsOptions{
		{ShowStderr: true},
		{ShowStdout: true, Tail: "0"},
		{ShowStdout: true, Since: time.Now().Add(time.Hour).Format(time.RFC3339)},
		{ShowStdout: true, Until: "2001-01-01T00:00:00Z"},
	} {
		if out, errs := read("out", opts); out+errs != "" {
			t.Errorf("%+v: %q %q", opts, out, errs)
		}
	}
	if out, _ := read("out", container.LogsOptions{ShowStdout: true, Timestamps: true, Tail: "all", Follow: true}); len(out) < 30 || !strings.HasSuffix(out, "Z hello\n") {
		t.Errorf("%q", out)
	}
	for v, want := range map[string]string{"1.41": types.MediaTypeRawStream, "1.42": types.MediaTypeMultiplexedStream} {
		if _, h, _ := b.do("GET", "/v"+v+"/containers/out/logs?stdout=1", ""); h.Get("Content-Type") != want {
			t.Errorf("%s: %s", v, h.Get("Content-Type"))
		}
	}
}

func TestLogsOfATerminalAreRaw(t *testing.T) {
	b := newBed(t)
	b.ok("POST", "/containers/create?name=tty", `{"Image":"weft/probe","Cmd":["echo","hi"],"Tty":true,"HostConfig":{"NetworkMode":"none"}}`)
	b.ok("POST", "/containers/tty/start", "")
	eventually(t, "it has ended", func() bool { return strings.Contains(b.String(), "tty exited") })
	status, h, text := b.do("GET", "/containers/tty/logs?stdout=1", "")
	if status != 200 || text != "hi" || h.Get("Content-Type") != types.MediaTypeRawStream {
		t.Errorf("%d %q %v", status, text, h)
	}
}

func TestFollowedLogsEndWithTheContainer(t *testing.T) {
	b := newBed(t)
	b.run(t, "web", "none")
	r, err := b.docker("").ContainerLogs(t.Context(), "web", container.LogsOptions{ShowStdout: true, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b.ok("POST", "/containers/web/kill", "")
	if out, err := io.ReadAll(r); err != nil || len(out) != 0 {
		t.Errorf("%q, %v", out, err)
	}
}

// attached makes a container of `cat`, attaches to it and starts it.
func attached(t *testing.T, b *bed, version string, tty bool) types.HijackedResponse {
	t.Helper()
	c := b.docker(version)
	_, err := c.ContainerCreate(t.Context(), &container.Config{Image: "weft/probe", Cmd: []string{"cat"}, OpenStdin: true, StdinOnce: true, AttachStdin: true, Tty: tty},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "cat")
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.ContainerAttach(t.Context(), "cat", container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if err := c.ContainerStart(t.Context(), "cat", container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAttach(t *testing.T) {
	for _, version := range []string{"1.24", "1.41", "1.42", "1.51"} {
		b := newBed(t)
		h := attached(t, b, version, false)
		want := types.MediaTypeMultiplexedStream
		if version < "1.42" {
			want = types.MediaTypeRawStream
		}
		if got, _ := h.MediaType(); version >= "1.42" && got != want {
			t.Errorf("%s: %s", version, got)
		}
		if _, err := io.WriteString(h.Conn, "ping\n"); err != nil {
			t.Fatal(err)
		}
		// The half-close is the end of the process's input, not of the attachment.
		if err := h.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if _, err := stdcopy.StdCopy(&out, &errs, h.Reader); err != nil || out.String() != "ping\n" || errs.Len() != 0 {
			t.Errorf("%s: %q %q, %v", version, out.String(), errs.String(), err)
		}
		eventually(t, "cat ends with its input", func() bool { return strings.Contains(b.String(), "cat exited") })
	}
}

// The input may end before the process has begun: docker's CLI attaches first.
func TestAttachOutlivesItsInput(t *testing.T) {
	b := newBed(t)
	b.ok("POST", "/containers/create?name=out", body(t, object{"Image": "weft/probe", "Cmd": []string{"echo", "late"}, "OpenStdin": true, "HostConfig": object{"NetworkMode": "none"}}))
	h, err := b.docker("").ContainerAttach(t.Context(), "out", container.AttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b.ok("GET", "/_ping", "")
	b.ok("POST", "/containers/out/start", "")
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, h.Reader); err != nil || out.String() != "late\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestAttachToATerminal(t *testing.T) {
	b := newBed(t)
	h := attached(t, b, "", true)
	if got, _ := h.MediaType(); got != types.MediaTypeRawStream {
		t.Error(got)
	}
	if _, err := io.WriteString(h.Conn, "hi\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := h.Reader.ReadString('\n'); err != nil || line != "hi\n" {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := io.WriteString(h.Conn, "\x10\x11"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(h.Reader); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if !strings.Contains(b.String(), "cat running") {
		t.Errorf("detaching ended it:\n%s", b)
	}
}

func TestAttachEndsWithItsClient(t *testing.T) {
	b := newBed(t)
	b.run(t, "web", "none")
	h, err := b.docker("").ContainerAttach(t.Context(), "web", container.AttachOptions{Stream: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.CloseWrite(); err != nil { // as docker's CLI does without input
		t.Fatal(err)
	}
	eventually(t, "it is attached", func() bool { return b.Attached() == 1 })
	h.Close()
	eventually(t, "nothing is attached any more", func() bool { return b.Attached() == 0 })
	if !strings.Contains(b.String(), "web running") {
		t.Error("the container ended with its client")
	}
}

func TestAttachWithLogs(t *testing.T) {
	b := newBed(t)
	b.run(t, "out", "none", "echo", "before")
	eventually(t, "it has ended", func() bool { return strings.Contains(b.String(), "out exited") })
	h, err := b.docker("").ContainerAttach(t.Context(), "out", container.AttachOptions{Logs: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, h.Reader); err != nil || out.String() != "before\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// Clients that do not ask for an upgrade get a 200 and then the stream.
func TestAttachWithoutUpgrade(t *testing.T) {
	b := newBed(t)
	b.run(t, "cat", "none", "cat")
	conn := b.dial()
	if _, err := io.WriteString(conn, "POST /v1.41/containers/cat/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\nearly\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != types.MediaTypeRawStream {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, resp.Body); err != nil || out.String() != "early\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// What a process never read must not turn the end of its output into a reset.
func TestAttachEndsInOrder(t *testing.T) {
	b := newBed(t)
	c := b.docker("")
	b.ok("POST", "/containers/create?name=out", body(t, object{"Image": "weft/probe", "Cmd": []string{"echo", "done"}, "OpenStdin": true, "HostConfig": object{"NetworkMode": "none"}}))
	h, err := c.ContainerAttach(t.Context(), "out", container.AttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.Conn.Write(bytes.Repeat([]byte("unread\n"), 20000)); err != nil {
		t.Fatal(err)
	}
	b.ok("POST", "/containers/out/start", "")
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, h.Reader); err != nil || out.String() != "done\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestWaitEndsWithItsClient(t *testing.T) {
	b := newBed(t)
	b.run(t, "web", "none")
	ctx, cancel := context.WithCancel(t.Context())
	_, errs := b.docker("").ContainerWait(ctx, "web", container.WaitConditionNextExit)
	cancel()
	if err := <-errs; err == nil {
		t.Error("a wait whose client went gave no error")
	}
	eventually(t, "nobody waits", func() bool { return b.Waiting() == 0 })
}

func TestErrorsAreJSONLines(t *testing.T) {
	b := newBed(t)
	_, _, text := b.do("GET", "/containers/<nope>/json", "")
	if !json.Valid([]byte(text)) || !strings.Contains(text, "<nope>") {
		t.Errorf("%s: HTML is not escaped by dockerd either", text)
	}
}
