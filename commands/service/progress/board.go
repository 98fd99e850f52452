package progress

import (
	"fmt"
	"io"
	"strings"
)

// Board shows lines that are known by an ID. On a terminal a line is redrawn
// in place; elsewhere each change is printed. It is not safe for concurrent
// use.
type Board struct {
	out   io.Writer
	tty   bool
	width int

	row  map[string]int    // on a terminal: which line, counted from the first
	last map[string]string // what the line says
	err  error
}

// NewBoard gives a board that draws on out. Columns is the terminal's width
// and 0 where out is none.
func NewBoard(out io.Writer, columns int) *Board {
	return &Board{out: out, tty: columns > 0, width: columns, row: map[string]int{}, last: map[string]string{}}
}

// Err is the first error of writing.
func (b *Board) Err() error { return b.err }

// Set makes the line say text.
func (b *Board) Set(id, text string) { b.draw(id, id+": "+text) }

// Bar makes the line say text with a bar filled by current of total. Only a
// terminal shows it.
func (b *Board) Bar(id, text string, current, total int) {
	if b.tty {
		b.draw(id, id+": "+text+" "+b.bar(current, total))
	}
}

// minBarColumns is the narrowest terminal that docker draws bars on.
const minBarColumns = 110

func (b *Board) bar(current, total int) string {
	if b.width <= minBarColumns {
		return ""
	}
	const cells = 50
	full := min(cells*current/total, cells)
	return "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", cells-full) + "] "
}

func (b *Board) draw(id, line string) {
	if old, ok := b.last[id]; ok && old == line {
		return
	}
	b.last[id] = line
	if !b.tty {
		b.printf("%s\n", line)
		return
	}
	row, ok := b.row[id]
	if !ok {
		row = len(b.row)
		b.row[id] = row
		b.printf("\n")
	}
	up := len(b.row) - row
	b.printf("\x1b[%dA\x1b[2K\r%s\r\x1b[%dB", up, line, up)
}

// Message prints a line of its own below all others.
func (b *Board) Message(text string) { b.printf("%s\n", text) }

func (b *Board) printf(format string, args ...any) {
	if b.err == nil {
		_, b.err = fmt.Fprintf(b.out, format, args...)
	}
}
