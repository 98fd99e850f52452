package runtime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// LogOptions selects lines of a container's log.
type LogOptions struct {
	Follow     bool // go on until the container's output ends
	Since      time.Time
	Until      time.Time // zero: no end
	Tail       int       // last lines only; negative: all
	Timestamps bool
}

// timestampForm is Docker's: nanoseconds with all their digits.
const timestampForm = "2006-01-02T15:04:05.000000000Z07:00"

// Logs writes the lines of a container's log to the writers of their streams;
// nil ones are not wanted.
func (r *Runtime) Logs(ctx context.Context, id string, opts LogOptions, stdout, stderr io.Writer) error {
	if err := r.exists(id); err != nil {
		return err
	}
	if opts.Follow && !opts.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, opts.Until)
		defer cancel()
	}
	// Watching begins before reading: nothing falls between.
	var growth logGrowth
	if opts.Follow {
		var err error
		if growth, err = r.watchLog(ctx, id); err != nil {
			return err
		}
		defer growth.close()
	}
	out := &logPrinter{opts: opts, stdout: stdout, stderr: stderr}
	cursor, err := openCursor(r.bundleDir(id))
	if err != nil {
		return fmt.Errorf("read log of container %s: %w", id, err)
	}
	defer cursor.close()
	if err := out.past(cursor); err != nil {
		return fmt.Errorf("read log of container %s: %w", id, err)
	}
	for growth.next() {
		if err := cursor.each(out.print); err != nil {
			return fmt.Errorf("read log of container %s: %w", id, err)
		}
	}
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) && !opts.Until.IsZero() {
			return nil
		}
		return err
	}
	if opts.Follow {
		return cursor.each(out.print)
	}
	return nil
}

// logGrowth tells when a log has grown. The zero value says that it does not.
type logGrowth struct {
	conn *net.UnixConn
	in   *bufio.Reader
	stop func() bool
}

// watchLog asks the shim to tell. Without a shim there is no growth.
func (r *Runtime) watchLog(ctx context.Context, id string) (logGrowth, error) {
	conn, err := r.dial(ctx, id)
	if errors.Is(err, errNoShim) {
		return logGrowth{}, nil
	}
	if err != nil {
		return logGrowth{}, err
	}
	g := logGrowth{conn: conn, in: bufio.NewReader(conn)}
	g.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if _, err := ask(conn, g.in, request{Op: opWatch}); err != nil && !errors.Is(err, errNoShim) {
		g.close()
		return logGrowth{}, err
	}
	return g, nil
}

// next waits for growth and reports whether there may be more.
func (g *logGrowth) next() bool {
	if g.conn == nil {
		return false
	}
	if _, err := g.in.ReadByte(); err != nil {
		return false
	}
	_, _ = g.in.Discard(g.in.Buffered()) // older news of the same
	return true
}

func (g *logGrowth) close() {
	if g.conn != nil {
		g.stop()
		_ = g.conn.Close()
	}
}

// logPrinter writes the records that are wanted.
type logPrinter struct {
	opts           LogOptions
	stdout, stderr io.Writer
}

// past prints what the log has, or the end of it.
func (p *logPrinter) past(c *cursor) error {
	if p.opts.Tail < 0 {
		return c.each(p.print)
	}
	var last []logRecord // a ring that begins at next
	next := 0
	err := c.each(func(rec logRecord) error {
		switch {
		case !p.wanted(rec) || p.opts.Tail == 0:
		case len(last) < p.opts.Tail:
			last = append(last, rec)
		default:
			last[next] = rec
			next = (next + 1) % len(last)
		}
		return nil
	})
	for i := range last {
		if err == nil {
			err = p.print(last[(next+i)%len(last)])
		}
	}
	return err
}

func (p *logPrinter) wanted(rec logRecord) bool {
	return p.writer(rec) != nil && !rec.Time.Before(p.opts.Since) &&
		(p.opts.Until.IsZero() || !rec.Time.After(p.opts.Until))
}

func (p *logPrinter) writer(rec logRecord) io.Writer {
	if rec.Stream == "stderr" {
		return p.stderr
	}
	return p.stdout
}

func (p *logPrinter) print(rec logRecord) error {
	if !p.wanted(rec) {
		return nil
	}
	line := rec.Log
	if p.opts.Timestamps {
		line = rec.Time.Format(timestampForm) + " " + line
	}
	_, err := io.WriteString(p.writer(rec), line)
	return err
}

// parseRecord reads a line of the log. One that a crash cut is none.
func parseRecord(line []byte) (logRecord, bool) {
	var rec logRecord
	if len(bytes.TrimSpace(line)) == 0 || json.Unmarshal(line, &rec) != nil {
		return logRecord{}, false
	}
	return rec, true
}
