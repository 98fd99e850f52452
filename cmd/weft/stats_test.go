package main_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

// stats measures a container that is known to use something.
func stats(t *testing.T, n node) {
	n.does(t, "run", "-d", "--name", "busy", "-m", "64m", "--pids-limit", "50", "busybox",
		"sh", "-c", "while ping -c 1 -s 1000 127.0.0.1; do :; done >/dev/null & while :; do :; done")
	n.does(t, "exec", "busy", "ping", "-c", "3", "-i", "0.2", "-s", "1000", n.does(t, "inspect", "-f", "{{.NetworkSettings.Gateway}}", "busy"))
	var got container.StatsResponse
	await(t, 20*time.Second, func() (bool, string) {
		raw := n.get(t, "/containers/busy/stats?stream=0&one-shot=1")
		if err := json.Unmarshal([]byte(raw), &got); err != nil {
			return false, err.Error() + raw
		}
		cpu, eth0 := got.CPUStats.CPUUsage.TotalUsage, got.Networks["eth0"]
		return cpu > 1e8 && got.CPUStats.SystemUsage > cpu && got.CPUStats.OnlineCPUs > 0 && eth0.TxBytes > 3000 && eth0.RxPackets >= 3 &&
			got.MemoryStats.Usage > 0 && got.MemoryStats.Limit == 64<<20 && got.PidsStats.Current >= 2 && got.PidsStats.Limit == 50, raw
	})
	for _, client := range []func(args ...string) result{
		func(args ...string) result { return n.docker(t, args...) }, func(args ...string) result { return n.try(t, args...) },
	} {
		r := client("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.CPUPerc}}", "busy")
		if !strings.HasPrefix(r.out, "busy ") || !strings.Contains(r.out, " / 64MiB ") || strings.Contains(r.out, " 0.00%") {
			t.Errorf("stats: %v", r)
		}
	}
	n.does(t, "rm", "-f", "busy")
}

// get asks the node's engine for something no command line shows.
func (n node) get(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.Socket())
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://docker"+path, nil)
	must(t, err)
	resp, err := client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}
