package cmdenv

import "github.com/moby/term"

// Terminal is what is known of a stream's terminal.
type Terminal struct {
	FD    uintptr
	IsTTY bool
}

// TerminalOf says whether a stream (Env's In, Out or Err) is a terminal, and
// gives the file descriptor to change its modes by.
func TerminalOf(stream any) Terminal {
	fd, tty := term.GetFdInfo(stream)
	return Terminal{FD: fd, IsTTY: tty}
}

// Size gives columns and lines of the terminal, zeros if it is none.
func (t Terminal) Size() (width, height int) {
	if !t.IsTTY {
		return 0, 0
	}
	ws, err := term.GetWinsize(t.FD)
	if err != nil {
		return 0, 0
	}
	return int(ws.Width), int(ws.Height)
}

// Width gives the columns of the terminal the output goes to, 0 if unknown.
func (e *Env) Width() int {
	width, _ := TerminalOf(e.Out).Size()
	return width
}

// Interactive reports whether a person can be asked: input and output are
// both terminals.
func (e *Env) Interactive() bool {
	return TerminalOf(e.In).IsTTY && TerminalOf(e.Out).IsTTY
}
