package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"weft/engine/netnstest"
)

func TestPaths(t *testing.T) {
	others := []string{"10.98.0.1", "fd98::1"}
	const good = `[{"addr":"10.98.0.1","ok":true,"ms":1.5},{"addr":"fd98::1","ok":false,"ms":2,"error":"no\n\u001b[2Jroute"}]`
	got, err := parsePaths([]byte(good), others)
	must(t, err)
	want := []Reached{{"10.98.0.1", true, 1.5, ""}, {"fd98::1", false, 2, "no??[2Jroute"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
	}
	for name, text := range map[string]string{
		"nothing": "", "HTML": "<html>", "null": "null", "an object": `{"hostname":"web"}`, "none": "[]", "too few": `[{"addr":"10.98.0.1","ok":true}]`,
		"too many": `[{"addr":"10.98.0.1"},{"addr":"fd98::1"},{"addr":"x"}]`, "nulls": "[null,null]", "other types": "[1,2]",
		"in another order": `[{"addr":"fd98::1","ok":true},{"addr":"10.98.0.1","ok":true}]`, "more": good + "x",
	} {
		if got, err := parsePaths([]byte(text), others); err == nil || got != nil {
			t.Errorf("%s: %+v", name, got)
		} else if !strings.HasPrefix(err.Error(), "that is no probe: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteMatrix(t *testing.T) {
	rows := []row{
		{"this one", []Reached{{"10.98.0.1", true, 0.44, ""}, {"fd98::1", false, 0, "refused"}}},
		{"10.98.0.1", []Reached{{"10.98.0.1", true, 12.06, ""}, {"fd98::1", true, 1, ""}}},
		{"fd98::1", []Reached{{"10.98.0.1", false, 0, "asked in vain"}, {"fd98::1", false, 0, "asked in vain"}}},
	}
	const want = `    from \ to     1     2
     this one   0.4  FAIL
  1 10.98.0.1  12.1   1.0
    2 fd98::1  FAIL  FAIL
this one -> fd98::1: refused
fd98::1 -> 10.98.0.1: asked in vain
fd98::1 -> fd98::1: asked in vain
3 of 6 paths work (ms, HTTP, a connection each)
`
	var out bytes.Buffer
	must(t, writeMatrix(&out, []string{"10.98.0.1", "fd98::1"}, rows))
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
	if err := writeMatrix(broken{}, nil, nil); err == nil {
		t.Error("what can't be written is written")
	}
}

func TestMatrix(t *testing.T) {
	one, _, endOne := local(t)
	defer endOne()
	two, _, endTwo := local(t)
	defer endTwo()
	call(t.Context(), "matrix", one).says(t, 0, "2 of 2 paths work", "")
	got := call(t.Context(), "matrix", one, two)
	got.says(t, 0, "\n6 of 6 paths work (ms, HTTP, a connection each)\n", "")
	if strings.Contains(got.out, "FAIL") || strings.Count(got.out, "\n") != 5 {
		t.Errorf("%s", got.out)
	}

	dead := refused(t)
	call(t.Context(), "matrix", dead).says(t, 1, "\n0 of 2 paths work", "")
	got = call(t.Context(), "matrix", "-json", one, dead)
	var rows []row
	must(t, json.Unmarshal([]byte(got.out), &rows))
	if got.code != 1 || got.err != "" || worked(rows) != 2 || len(rows) != 3 || rows[0].From != "this one" || rows[1].From != one || rows[2].From != dead {
		t.Errorf("%+v", got)
	}
	for i, r := range rows {
		for j, p := range r.Paths {
			if want := i < 2 && j == 0; p.OK != want || p.Addr != []string{one, dead}[j] || (p.Error == "") != want {
				t.Errorf("row %d: %+v", i, p)
			}
		}
	}
	if p := rows[2].Paths[0]; !strings.Contains(p.Error, dead+" could not be asked: ") || !strings.HasSuffix(p.Error, "connection refused") {
		t.Errorf("%+v", p)
	}
	call(t.Context(), "matrix", "-json", one).says(t, 0, `[{"from":"this one","paths":[{"addr":"`+one+`","ok":true,"ms":`, "")
}

// TestMatrixOfOthers has servers in it that are no probes.
func TestMatrixOfOthers(t *testing.T) {
	probe, _, end := local(t)
	defer end()
	other := page(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "null")
	})
	got := call(t.Context(), "matrix", probe, other)
	got.says(t, 1, "\n4 of 6 paths work", "")
	got.says(t, 1, other+" -> "+probe+": "+other+" could not be asked: that is no probe: 0 paths instead of 2\n", "")
}

func TestMatrixGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	silent := page(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/reach" {
			<-r.Context().Done()
		}
	})
	call(t.Context(), "matrix", "-timeout", "20ms", silent).says(t, 1, " could not be asked: Get ", "")
	all := page(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(caught{syscall.SIGINT})
		<-r.Context().Done()
	})
	call(ctx, "matrix", "-timeout", "1h", all).says(t, 130, "0 of 2 paths work", "")
}

// TestMatrixBetweenHosts has three probes, one host without one, and a page
// only one of them has.
func TestMatrixBetweenHosts(t *testing.T) {
	hosts := netnstest.Hosts(t, 4, 0)
	for _, h := range hosts[:3] {
		serving(t, h.NS)
	}
	serving(t, hosts[0].NS, "-http", "localhost:8080", "-echo", ":8")
	from, idle := hosts[0], hosts[3]
	families(t, func(t *testing.T, addr func(*netnstest.Host) string) {
		three := []string{"matrix", addr(hosts[0]), addr(hosts[1]), addr(hosts[2])}
		in(t, from.NS, three...).says(t, 0, "\n12 of 12 paths work", "")

		got := in(t, from.NS, append(three, addr(idle))...)
		got.says(t, 1, "\n12 of 20 paths work", "")
		for _, want := range []string{
			`this one -> %s: Get .* connection refused`, regexp.QuoteMeta(addr(hosts[2])) + ` -> %s: Get .* connection refused`,
			regexp.QuoteMeta(addr(idle)) + ` -> ` + regexp.QuoteMeta(addr(hosts[0])) + `: %s could not be asked: Get .* connection refused`,
		} {
			if re := fmt.Sprintf("(?m)^"+want+"$", regexp.QuoteMeta(addr(idle))); !regexp.MustCompile(re).MatchString(got.out) {
				t.Errorf("%s is not in\n%s", re, got.out)
			}
		}
	})
	// This one and the first reach it, the second does not.
	got := in(t, from.NS, "matrix", "127.0.0.1:8080", hosts[1].Addr.String())
	got.says(t, 1, "\n5 of 6 paths work", "")
	got.says(t, 1, hosts[1].Addr.String()+" -> 127.0.0.1:8080: Get ", "")

	// Both families in one.
	in(t, from.NS, "matrix", hosts[1].Addr.String(), hosts[2].AddrV6.String()).says(t, 0, "\n6 of 6 paths work", "")
	unreachable := net.JoinHostPort("198.51.100.1", "80")
	in(t, from.NS, "matrix", unreachable).says(t, 1, "\n0 of 2 paths work", "")
	in(t, from.NS, "matrix", unreachable).says(t, 1, "network is unreachable\n", "")
}
