package container

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/docker/go-units"

	"weft/commands/cmdenv"
)

// copyInterval is how often the amount is drawn anew.
const copyInterval = 75 * time.Millisecond

// copyMeter counts what is read through it. Unless it is quiet it shows the
// amount on a terminal while it grows, and says how much it was at the end.
type copyMeter struct {
	io.Reader
	out       io.Writer // nil: quiet
	uncounted bool
	total     atomic.Int64
	stop      chan struct{} // nil: there is no terminal
	stopped   chan struct{}
}

func newCopyMeter(env *cmdenv.Env, quiet bool, title string, r io.Reader) *copyMeter {
	m := &copyMeter{Reader: r}
	if quiet {
		return m
	}
	m.out = env.Err
	if cmdenv.TerminalOf(env.Err).IsTTY {
		m.stop, m.stopped = make(chan struct{}), make(chan struct{})
		go m.show(title)
	}
	return m
}

// Read counts.
func (m *copyMeter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.total.Add(int64(n))
	return n, err
}

func (m *copyMeter) show(title string) {
	defer close(m.stopped)
	const hide, clear, show = "\x1b[?25l", "\r\x1b[2K", "\x1b[?25h"
	fmt.Fprint(m.out, hide, title, amount(0))
	tick := time.NewTicker(copyInterval)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-m.stop:
			fmt.Fprint(m.out, clear, show)
			return
		case <-tick.C:
			if n := m.total.Load(); n != last {
				last = n
				fmt.Fprint(m.out, clear, title, amount(n))
			}
		}
	}
}

// end says how much went where. It is called once.
func (m *copyMeter) end(destination string) {
	if m.stop != nil {
		close(m.stop)
		<-m.stopped
	}
	if m.out == nil {
		return
	}
	total := m.total.Load()
	if m.uncounted {
		total = 0
	}
	fmt.Fprintln(m.out, "Successfully copied", amount(total), "to", destination)
}

func amount(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
