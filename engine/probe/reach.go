package probe

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"
)

// reachTimeout bounds one attempt to reach a probe.
const reachTimeout = 5 * time.Second

// Reached is one attempt to reach a probe.
type Reached struct {
	Addr  string  `json:"addr"`
	OK    bool    `json:"ok"`
	MS    float64 `json:"ms"`
	Error string  `json:"error,omitempty"`
}

// pageOf gives the URL of a probe's page: port 80 unless addr names one. addr
// may be an address with a zone, path has a query where it needs one.
func pageOf(addr, path string) string {
	if ip, err := netip.ParseAddr(addr); err == nil && ip.Is6() {
		addr = "[" + addr + "]"
	}
	page := url.URL{Scheme: "http", Host: addr} // which escapes the zone
	return page.String() + path
}

// pageSize is the longest page that is read.
const pageSize = 1 << 20

func fetch(ctx context.Context, page string) ([]byte, error) {
	client := &http.Client{
		// A connection of its own for every request: it is the path that is tested.
		Transport: &http.Transport{DisableKeepAlives: true},
		// And it is this path, not one to another server that answers well.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, pageSize+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s", page, printable(resp.Status))
	case len(b) > pageSize:
		return nil, fmt.Errorf("%s answers more than %d bytes", page, pageSize)
	}
	return b, nil
}

// printable keeps what others say on its line, and off the terminal's controls.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return '?'
	}, s)
}

// reachAll reaches every address at once.
func reachAll(ctx context.Context, addrs []string, timeout time.Duration) []Reached {
	out := make([]Reached, len(addrs))
	var all sync.WaitGroup
	for i, a := range addrs {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			begin := time.Now() //nolint:forbidigo // a duration is what is measured
			_, err := fetch(ctx, pageOf(a, "/"))
			out[i] = Reached{Addr: a, OK: err == nil, MS: float64(time.Since(begin).Microseconds()) / 1000}
			if err != nil {
				out[i].Error = err.Error()
			}
		})
	}
	all.Wait()
	return out
}

func reach(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	timeout := fs.Duration("timeout", reachTimeout, "how long to try")
	addrs, err := parse(fs, args, 1, -1)
	if err != nil {
		return err
	}
	failed := false
	for _, r := range reachAll(ctx, addrs, *timeout) {
		if failed = failed || !r.OK; !r.OK {
			fmt.Fprintf(s.out, "%s FAIL %s\n", r.Addr, r.Error)
			continue
		}
		fmt.Fprintf(s.out, "%s ok %.1f ms\n", r.Addr, r.MS)
	}
	if failed {
		return exit(1)
	}
	return nil
}

// row is what one probe reached.
type row struct {
	From  string    `json:"from"`
	Paths []Reached `json:"paths"`
}

func matrix(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	asJSON := fs.Bool("json", false, "print JSON")
	timeout := fs.Duration("timeout", 3*reachTimeout, "how long to wait for a probe's answer")
	addrs, err := parse(fs, args, 1, -1)
	if err != nil {
		return err
	}
	rows := make([]row, len(addrs)+1)
	var all sync.WaitGroup
	all.Go(func() { rows[0] = row{"this one", reachAll(ctx, addrs, reachTimeout)} })
	for i, a := range addrs {
		all.Go(func() { rows[i+1] = row{a, ask(ctx, a, addrs, *timeout)} })
	}
	all.Wait()
	if *asJSON {
		err = json.NewEncoder(s.out).Encode(rows)
	} else {
		err = writeMatrix(s.out, addrs, rows)
	}
	if err == nil && worked(rows) < len(rows)*len(addrs) {
		return exit(1)
	}
	return err
}

// ask lets the probe at addr reach the others.
func ask(ctx context.Context, addr string, others []string, timeout time.Duration) []Reached {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	b, err := fetch(ctx, pageOf(addr, "/reach?to="+url.QueryEscape(strings.Join(others, ","))))
	if err == nil {
		var got []Reached
		if got, err = parsePaths(b, others); err == nil {
			return got
		}
	}
	got := make([]Reached, len(others))
	for i, o := range others {
		got[i] = Reached{Addr: o, Error: fmt.Sprintf("%s could not be asked: %v", addr, err)}
	}
	return got
}

// parsePaths reads what a probe answers that was asked to reach the others.
func parsePaths(b []byte, others []string) ([]Reached, error) {
	const noProbe = "that is no probe: "
	var got []Reached
	if err := json.Unmarshal(b, &got); err != nil {
		return nil, fmt.Errorf(noProbe+"%w", err)
	}
	if len(got) != len(others) {
		return nil, fmt.Errorf(noProbe+"%d paths instead of %d", len(got), len(others))
	}
	for i := range got {
		if got[i].Addr != others[i] {
			return nil, fmt.Errorf(noProbe+"path %d is not to %s", i+1, others[i])
		}
		got[i].Error = printable(got[i].Error)
	}
	return got, nil
}

func worked(rows []row) (n int) {
	for _, r := range rows {
		for _, p := range r.Paths {
			if p.OK {
				n++
			}
		}
	}
	return n
}

// writeMatrix prints milliseconds; the columns are numbered like the rows so
// that the table stays narrow.
func writeMatrix(out io.Writer, addrs []string, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "from \\ to\t")
	for i := range addrs {
		fmt.Fprintf(w, "%d\t", i+1)
	}
	fmt.Fprintln(w)
	var failures []string
	for i, r := range rows {
		name := r.From
		if i > 0 {
			name = fmt.Sprintf("%d %s", i, r.From)
		}
		fmt.Fprintf(w, "%s\t", name)
		for _, p := range r.Paths {
			cell := fmt.Sprintf("%.1f", p.MS)
			if !p.OK {
				cell = "FAIL"
				failures = append(failures, fmt.Sprintf("%s -> %s: %s", r.From, p.Addr, p.Error))
			}
			fmt.Fprintf(w, "%s\t", cell)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range failures {
		fmt.Fprintln(out, f)
	}
	_, err := fmt.Fprintf(out, "%d of %d paths work (ms, HTTP, a connection each)\n", worked(rows), len(rows)*len(addrs))
	return err
}
