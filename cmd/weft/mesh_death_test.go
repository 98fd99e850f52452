package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/lab"
)

// watch asks a port all the time, and notes when it was told that it asked in
// vain.
type watch struct {
	*asking

	mu     sync.Mutex // guards the following
	asked  int
	failed []time.Time // when they ended
	last   error
	slow   time.Duration // the longest that was answered
}

// patience is how long a request may take before it counts as failed: what is
// asked of a dead host gets no answer at all. Who asks while a task goes may be
// answered to the second attempt of the kernel's, after 1 s; the rest is for a
// busy machine.
const patience = 2 * time.Second

// startWatch asks with so many clients, half of which keep their connections.
func startWatch(t *testing.T, from *kernel.Namespace, url string, clients int) *watch {
	t.Helper()
	w := &watch{asking: newAsking(t)}
	for i := range clients {
		client := w.client(from, i%2 != 0, patience)
		w.again(func() { w.one(client, url) })
	}
	return w
}

func (w *watch) one(client *http.Client, url string) {
	begun := time.Now()
	r, err := client.Get(url)
	if err == nil { // to its end, or the connection is not kept
		_, err = io.Copy(io.Discard, r.Body)
		err = errors.Join(err, r.Body.Close())
	}
	ended := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err != nil {
		w.failed, w.last = append(w.failed, ended), err
	} else {
		w.slow = max(w.slow, ended.Sub(begun))
	}
}

// since gives how many requests failed, how long before and after a moment the
// first and the last of them did, and why.
func (w *watch) since(kill time.Time) (failed int, before, after time.Duration, last error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ended := range w.failed {
		before, after = max(before, kill.Sub(ended)), max(after, ended.Sub(kill))
	}
	return len(w.failed), before, after, w.last
}

// quiet waits until nothing has failed for so long.
func (w *watch) quiet(t *testing.T, long time.Duration) {
	t.Helper()
	await(t, time.Minute, func() (bool, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := len(w.failed)
		return n == 0 || time.Since(w.failed[n-1]) > long, fmt.Sprintf("%d of %d failed, the last with %v", n, w.asked, w.last)
	})
}

// TestMeshOutlivesDeaths kills a task, and then a host, without a warning. What
// has been asked in vain ends in the time the design promises.
func TestMeshOutlivesDeaths(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--name", "web", "--replicas", "4", "--publish", "8080:80",
		"--constraint", "node.hostname!=host1", "--restart-delay", "0s", "weft/probe")
	url := "http://" + one.addr() + ":8080/"
	for _, c := range []struct {
		name string
		kill func(t *testing.T) func() // gives what does it at once
		most time.Duration
	}{
		{"task", func(t *testing.T) func() { return b.killTask(t, "web") }, time.Second},
		{"host", func(t *testing.T) func() {
			return func() { must(t, b.lab.Kill(context.Background(), "host3")) }
		}, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			awaitServing(t, one, 4)
			w := startWatch(t, b.outside, url, 4)
			await(t, 20*time.Second, func() (bool, string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.asked > 200, fmt.Sprintf("%d requests", w.asked)
			})
			kill := c.kill(t)
			killed := time.Now()
			kill()
			await(t, time.Minute, func() (bool, string) { return time.Since(killed) > c.most+time.Second, "" })
			w.quiet(t, time.Second)
			w.quit()
			failed, before, after, last := w.since(killed)
			t.Logf("%d of %d requests failed, until %v after the kill: %v; the slowest answer took %v", failed, w.asked, after.Round(time.Millisecond), last, w.slow.Round(time.Millisecond))
			if before > 0 {
				t.Errorf("requests failed %v before the kill", before)
			}
			if after > c.most { // whenever they began
				t.Errorf("requests failed until %v after the kill, want %v", after, c.most)
			}
		})
	}
}

// killTask gives what kills one of a service's tasks from outside, behind its
// engine's back.
func (b *meshBed) killTask(t *testing.T, service string) func() {
	t.Helper()
	for _, n := range b.nodes[1:] {
		for _, id := range strings.Fields(n.weft(t, "ps", "-q", "--filter", "name="+service+".")) {
			pid := n.weft(t, "inspect", "--format", "{{.State.Pid}}", id)
			return func() {
				must(t, b.lab.Exec(t.Context(), n.Name, lab.Process{Args: []string{"sh", "-c", "kill -9 " + pid}}))
			}
		}
	}
	t.Fatalf("no task of %s", service)
	return nil
}

// awaitServing waits until a node sends flows to so many tasks of port 8080.
func awaitServing(t *testing.T, n node, tasks int) {
	t.Helper()
	await(t, time.Minute, func() (bool, string) {
		got := n.weft(t, "mesh", "ls", "--format", "{{.Tasks}}")
		return got == fmt.Sprintf("%d/%d", tasks, tasks), got
	})
}
