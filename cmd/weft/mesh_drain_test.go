package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/probe"
)

// importBusybox gives nodes an image in which probe, mounted there, can have a
// shell beside it.
func importBusybox(t *testing.T, nodes []node) {
	t.Helper()
	archive := busyboxArchive(t)
	for _, n := range nodes {
		n.does(t, "import", archive, "busybox")
	}
}

// withProbe mounts the program of weft/probe into busybox.
func withProbe(n node) string { return "--mount=type=bind,readonly,src=" + n.bin + ",dst=/bin/probe" }

// tells is a server that says when it gets its signal, and serves on: new
// connections as well, so who still gets some is seen. Only SIGKILL ends it.
var tells = []string{"busybox", "sh", "-c", `trap "echo told" TERM; probe serve & while kill -0 $!; do wait $!; done`}

// replica is the container of a service's task.
type replica struct {
	node
	id, hostname string
}

// replicas gives those of a service's running tasks, once there are so many.
func (b *meshBed) replicas(t *testing.T, service string, count int) (all []replica) {
	t.Helper()
	await(t, time.Minute, func() (bool, string) {
		all = nil
		for _, n := range b.nodes {
			for _, id := range strings.Fields(n.weft(t, "ps", "-q", "--filter", "name="+service+".")) {
				all = append(all, replica{n, id, n.weft(t, "inspect", "--format", "{{.Config.Hostname}}", id)})
			}
		}
		return len(all) == count, fmt.Sprintf("%d of %d containers of %s", len(all), count, service)
	})
	return all
}

// told waits until one of them has got its signal, and says when that was.
func told(t *testing.T, all []replica) (which replica, when time.Time) {
	t.Helper()
	await(t, 30*time.Second, func() (bool, string) {
		logs := ""
		for _, r := range all {
			out := r.try(t, "logs", "-t", r.id).out
			for line := range strings.Lines(out) {
				at, text, _ := strings.Cut(strings.TrimSpace(line), " ")
				if text != "told" {
					continue
				}
				var err error
				which = r
				when, err = time.Parse(time.RFC3339Nano, at)
				must(t, err)
				return true, ""
			}
			logs += r.Name + ":\n" + out
		}
		return false, "nobody got its signal:\n" + logs
	})
	return which, when
}

// steady asks hosts at a port all the time, each time anew.
type steady struct {
	*asking

	mu    sync.Mutex // guards the following
	asked []request
}

// request is one of its: when it began, at which host, and the hostname of who
// answered.
type request struct {
	begun      time.Time
	host, task string
	err        error
}

// startSteady asks every host from a namespace, fifty times a second at most.
func startSteady(t *testing.T, from *kernel.Namespace, nodes []node, port string) *steady {
	t.Helper()
	s := &steady{asking: newAsking(t)}
	for _, n := range nodes {
		tick := time.NewTicker(20 * time.Millisecond)
		t.Cleanup(tick.Stop)
		s.again(func() {
			<-tick.C
			r := request{begun: time.Now(), host: n.Name}
			a, _, err := ask(from, "tcp", n.addr()+":"+port)
			r.task, r.err = a.Hostname, err
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, r)
		})
	}
	return s
}

// since gives the requests that began at a moment or later.
func (s *steady) since(moment time.Time) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(r request) bool { return r.begun.Before(moment) })
}

// end ends it and gives all requests.
func (s *steady) end() []request {
	s.quit()
	return s.since(time.Time{})
}

// await waits until each of the hosts has got so many answers from each of the
// tasks, in requests that began since a moment.
func (s *steady) await(t *testing.T, moment time.Time, least int, nodes []node, tasks ...replica) {
	t.Helper()
	await(t, 30*time.Second, func() (bool, string) {
		got := map[string]int{}
		for _, r := range s.since(moment) {
			if r.err == nil {
				got[r.host+" "+r.task]++
			}
		}
		for _, n := range nodes {
			for _, r := range tasks {
				if got[n.Name+" "+r.hostname] < least {
					return false, fmt.Sprintf("%s has not sent %d requests to %s on %s: %v", n.Name, least, r.hostname, r.Name, got)
				}
			}
		}
		return true, ""
	})
}

// lost wants no request to have been in vain.
func lost(t *testing.T, all []request) {
	t.Helper()
	n := 0
	for _, r := range all {
		if r.err == nil {
			continue
		}
		if n++; n <= 5 {
			t.Errorf("lost at %s, %s: %v", r.host, r.begun.Format(time.StampMicro), r.err)
		}
	}
	if n > 0 {
		t.Errorf("%d of %d requests were lost", n, len(all))
	}
}

// answeredBy wants the requests that began at a moment or later, at the hosts
// named, to have been answered by one task alone.
func answeredBy(t *testing.T, all []request, moment time.Time, want replica, hosts ...string) {
	t.Helper()
	n := 0
	for _, r := range all {
		if r.begun.Before(moment) || r.err != nil || !slices.Contains(hosts, r.host) || r.task == want.hostname {
			continue
		}
		if n++; n <= 5 {
			t.Errorf("%s sent a new connection to %s, %v after %s", r.host, r.task, r.begun.Sub(moment), moment.Format(time.StampMicro))
		}
	}
	if n > 0 {
		t.Errorf("%d new connections went elsewhere than to %s on %s", n, want.hostname, want.Name)
	}
}

// lastNew gives when the last connection began that the hosts named sent to a
// task.
func lastNew(all []request, task replica, hosts ...string) (last time.Time) {
	for _, r := range all {
		if r.task == task.hostname && slices.Contains(hosts, r.host) && r.begun.After(last) {
			last = r.begun
		}
	}
	return last
}

// who has a kept connection carry a request, and gives the hostname of who
// answers.
func (h held) who() (string, error) {
	_ = h.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(h, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", err
	}
	r, err := http.ReadResponse(bufio.NewReader(h), nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	var a probe.Answer
	err = json.NewDecoder(r.Body).Decode(&a)
	return a.Hostname, err
}

// kept are connections, by the names of the host that was asked and of the task
// that answers.
type kept map[[2]string]held

// keep opens a connection by every host to every task.
func (b *meshBed) keep(t *testing.T, port string, tasks []replica) kept {
	t.Helper()
	k := kept{}
	for _, n := range b.nodes {
		for range 4 * len(tasks) {
			c := b.hold(t, b.outside, n.addr()+":"+port)
			who, err := c.who()
			must(t, err)
			k[[2]string{n.Name, who}] = c
		}
		for _, r := range tasks {
			if _, ok := k[[2]string{n.Name, r.hostname}]; !ok {
				t.Fatalf("no connection by %s to %s on %s", n.Name, r.hostname, r.Name)
			}
		}
	}
	return k
}

// alive has all of them carry a request, each to its own task.
func (k kept) alive(t *testing.T, when string) {
	t.Helper()
	for by, c := range k {
		if who, err := c.who(); err != nil || who != by[1] {
			t.Errorf("%s, the connection by %s to %s: %q, %v", when, by[0], by[1], who, err)
		}
	}
}

// other gives the one of two that isn't this.
func other(all []replica, this replica) replica {
	return all[slices.IndexFunc(all, func(r replica) bool { return r.id != this.id })]
}

// hostNames gives the names of nodes.
func hostNames(nodes []node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

// spared is how long before its signal a task gets nothing new at least, when
// all nodes have said so: the engine waits for 250 ms, of which the clocks and
// this machine's load may take some.
const spared = 100 * time.Millisecond

// bound is what a task waits for its signal at least when a node has not said
// that it sends it nothing new: 2 s, of which a host may need some to end that.
const bound = 1500 * time.Millisecond

// TestMeshDrains takes one of two tasks out of a service in every way there is:
// before it gets its signal no host sends it anything new, and what is open
// goes on for as long as it may run.
func TestMeshDrains(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	importBusybox(t, b.nodes)
	var waits []time.Duration
	for i, c := range []struct {
		name string
		args []string
	}{
		{"scaled", []string{"service", "update", "-d", "--replicas", "1", "web0"}},
		{"updated", []string{"service", "update", "-d", "--env-add", "A=1", "web1"}},
		{"host drained", []string{"node", "update", "--availability", "drain", "host3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			service, port := fmt.Sprint("web", i), fmt.Sprint(8080+i)
			one.weft(t, append([]string{
				"service", "create", "-q", "--name", service, "--replicas", "2", "--publish", port + ":80",
				"--constraint", "node.hostname!=host1", "--stop-grace-period", "30s", withProbe(one),
			}, tells...)...)
			waits = append(waits, b.drains(t, service, port, c.args))
			one.weft(t, "service", "rm", service)
		})
	}
	if len(waits) > 0 && slices.Min(waits) > bound { // on a busy machine some may
		t.Errorf("tasks waited for their signal as if nodes had not agreed: %v", waits)
	}
}

// drains has one of a service's two tasks leave, and gives how long before its
// signal the last new connection was sent to it.
func (b *meshBed) drains(t *testing.T, service, port string, leave []string) time.Duration {
	t.Helper()
	tasks := b.replicas(t, service, 2)
	s := startSteady(t, b.outside, b.nodes, port)
	s.await(t, time.Time{}, 3, b.nodes, tasks...)
	open := b.keep(t, port, tasks)

	begun := time.Now()
	b.nodes[0].weft(t, leave...)
	gone, when := told(t, tasks)
	open.alive(t, "after the signal")
	s.await(t, when, 20, b.nodes, other(tasks, gone))
	open.alive(t, "while it may still run")
	all := s.end()
	lost(t, all)
	answeredBy(t, all, when.Add(-spared), other(tasks, gone), hostNames(b.nodes)...)
	wait := when.Sub(lastNew(all, gone, hostNames(b.nodes)...))
	t.Logf("the task on %s got its signal %v after the command began, and %v after its last new connection", gone.Name, when.Sub(begun), wait)
	return wait
}

// TestMeshDrainBound has a task leave while the engine of another host can't say
// that it sends it nothing new: it is waited for, but not for long.
func TestMeshDrainBound(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one, frozen := b.nodes[0], b.nodes[1]
	importBusybox(t, b.nodes)
	one.weft(t, append([]string{
		"service", "create", "-q", "--name", "web", "--mode", "global", "--publish", "8080:80",
		"--constraint", "node.hostname!=" + frozen.Name, "--stop-grace-period", "1m", withProbe(one),
	}, tells...)...)
	tasks := b.replicas(t, "web", 2)
	s := startSteady(t, b.outside, b.nodes, "8080")
	s.await(t, time.Time{}, 3, b.nodes, tasks...)
	open := b.keep(t, "8080", tasks)
	// What goes by the frozen host is another matter: it is given up for dead if
	// this takes long.
	maps.DeleteFunc(open, func(by [2]string, _ held) bool { return by[0] == frozen.Name })

	pid := enginePid(t, frozen)
	goOn := sync.OnceFunc(func() { must(t, syscall.Kill(pid, syscall.SIGCONT)) })
	t.Cleanup(goOn)
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	begun := time.Now()
	one.weft(t, "node", "update", "--availability", "drain", "host3")
	gone, when := told(t, tasks)
	seen := time.Now()
	if gone.Name != "host3" {
		t.Fatalf("the task on %s got the signal", gone.Name)
	}
	open.alive(t, "after the signal")
	rest := other(tasks, gone)
	s.await(t, seen, 1, b.nodes, rest)
	s.await(t, seen, 1, []node{frozen}, gone) // or it is not frozen, and this shows nothing
	goOn()
	await(t, 30*time.Second, func() (bool, string) { // it learns what it has missed
		r := frozen.try(t, "mesh", "inspect", "8080")
		return strings.Contains(r.out, "leaving, gets no new flows"), r.String()
	})
	after := time.Now()
	s.await(t, after, 20, b.nodes, rest)
	open.alive(t, "after the engine went on")

	all := s.end()
	lost(t, slices.DeleteFunc(slices.Clone(all), func(r request) bool { return r.host == frozen.Name }))
	answeredBy(t, all, when.Add(-500*time.Millisecond), rest, one.Name, gone.Name)
	answeredBy(t, all, after, rest, frozen.Name)
	took, wait := when.Sub(begun), when.Sub(lastNew(all, gone, gone.Name))
	t.Logf("the signal came %v after the command began, and %v after the task's own host sent it the last new connection", took, wait)
	if wait < bound || took > 15*time.Second {
		t.Errorf("%v and %v: want the 2 s of the bound", took, wait)
	}
	if log, err := os.ReadFile(b.nodes[2].LogPath()); !strings.Contains(string(log), "not every node says that it sends nothing new") {
		t.Errorf("%s says nothing of that: %v", gone.Name, err)
	}
}

// TestMeshReadiness follows tasks with a health check: nobody is sent to one
// before it is healthy, nor to one that is to be stopped as it isn't any more.
func TestMeshReadiness(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	importBusybox(t, b.nodes)
	one.weft(t, "service", "create", "--detach", "--name", "web", "--publish", "8080:80", "--constraint", "node.hostname!=host1",
		"--health-cmd", "ls /ok", "--health-interval", "200ms", "--health-retries", "2", "--health-start-period", "10m", "--health-start-interval", "200ms",
		withProbe(one), "busybox", "probe", "serve")
	first := b.replicas(t, "web", 1)[0]
	b.starting(t, first)
	for _, n := range b.nodes {
		if a, _, err := ask(b.outside, "tcp", n.addr()+":8080"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s, while the task is starting: %v, %v", n.Name, a, err)
		}
	}
	if r := one.try(t, "mesh", "inspect", "8080"); r.code == 0 || !strings.Contains(r.err, "no ready task publishes 8080/tcp") {
		t.Errorf("inspect of a port whose task is starting: %v", r)
	}
	first.does(t, "exec", first.id, "touch", "/ok")
	for _, n := range b.nodes {
		await(t, 20*time.Second, func() (bool, string) {
			a, _, err := ask(b.outside, "tcp", n.addr()+":8080")
			return err == nil && a.Hostname == first.hostname, fmt.Sprintf("%s, with the task healthy: %v, %v", n.Name, a, err)
		})
	}

	s := startSteady(t, b.outside, b.nodes, "8080")
	one.weft(t, "service", "scale", "-d", "web=2")
	second := other(b.replicas(t, "web", 2), first)
	b.starting(t, second)
	s.await(t, time.Now(), 10, b.nodes, first)
	answeredBy(t, s.since(time.Time{}), time.Time{}, first, hostNames(b.nodes)...)
	if r := one.try(t, "mesh", "inspect", "8080"); !strings.Contains(r.out, ": serving") || !strings.Contains(r.out, "not ready") {
		t.Errorf("inspect with one task serving and one starting: %v", r)
	}
	second.does(t, "exec", second.id, "touch", "/ok")
	s.await(t, time.Now(), 10, b.nodes, first, second)
	second.does(t, "exec", second.id, "rm", "/ok")
	await(t, 30*time.Second, func() (bool, string) {
		r := one.try(t, "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "web")
		return strings.Contains(r.out, "unhealthy container"), r.String()
	})
	ended := time.Now()
	s.await(t, ended, 20, b.nodes, first)
	all := s.end()
	lost(t, all)
	answeredBy(t, all, ended, first, hostNames(b.nodes)...)
}

// starting waits until a task that isn't healthy yet serves, for who asks in its
// own namespace, and has been checked some times.
func (b *meshBed) starting(t *testing.T, r replica) {
	t.Helper()
	in := b.sandbox(r.node, r.id)
	await(t, 20*time.Second, func() (bool, string) {
		_, _, err := ask(in, "tcp", "127.0.0.1:80")
		return err == nil, fmt.Sprintf("the task does not serve: %v", err)
	})
	await(t, 20*time.Second, func() (bool, string) {
		got := r.inspected(t, r.id, "{{.State.Health.Status}} {{len .State.Health.Log}}")
		return got == "starting 5", got
	})
}
