// Package tuitest drives a page's model without a terminal: messages go in,
// frames come out, and a command runs only when the test says so.
package tuitest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"
)

// Screen is a model and what it has asked for.
type Screen struct {
	tb      testing.TB
	model   tea.Model
	pending []tea.Cmd
	quit    bool
}

// New shows a model on a screen of so many columns and lines. The commands of
// its Init are pending.
func New(tb testing.TB, model tea.Model, width, height int) *Screen {
	tb.Helper()
	s := &Screen{tb: tb, model: model}
	s.add(model.Init())
	s.Send(tea.WindowSizeMsg{Width: width, Height: height})
	return s
}

// Send gives the model a message.
func (s *Screen) Send(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
		return
	case tea.QuitMsg:
		s.quit = true
		return
	case tea.BatchMsg:
		for _, cmd := range msg {
			s.add(cmd)
		}
		return
	}
	var cmd tea.Cmd
	s.model, cmd = s.model.Update(msg)
	s.add(cmd)
}

func (s *Screen) add(cmd tea.Cmd) {
	if cmd != nil {
		s.pending = append(s.pending, cmd)
	}
}

// Step runs the oldest pending command and gives the model what it says.
func (s *Screen) Step() {
	s.tb.Helper()
	if len(s.pending) == 0 {
		s.tb.Fatalf("the model waits for nothing but keys:\n%s", s.Frame())
	}
	cmd := s.pending[0]
	s.pending = s.pending[1:]
	s.Send(cmd())
}

// Settle runs commands until none is pending.
func (s *Screen) Settle() {
	s.tb.Helper()
	for len(s.pending) > 0 {
		s.Step()
	}
}

// keys are those that are not the character they write.
func keys() map[string]tea.KeyType {
	return map[string]tea.KeyType{
		"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "shift+tab": tea.KeyShiftTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"left": tea.KeyLeft, "right": tea.KeyRight, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "ctrl+c": tea.KeyCtrlC, "ctrl+u": tea.KeyCtrlU,
		"space": tea.KeySpace, "backspace": tea.KeyBackspace, "home": tea.KeyHome,
	}
}

// Press presses keys, by their names or the characters they write, and settles
// after each.
func (s *Screen) Press(names ...string) {
	s.tb.Helper()
	for _, name := range names {
		s.Hit(name)
		s.Settle()
	}
}

// Hit presses a key and runs no command.
func (s *Screen) Hit(name string) {
	if t, is := keys()[name]; is {
		s.Send(tea.KeyMsg{Type: t})
		return
	}
	s.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)})
}

// Type writes text.
func (s *Screen) Type(text string) {
	s.tb.Helper()
	for _, r := range text {
		s.Press(string(r))
	}
}

// Quit says whether the model has ended the program.
func (s *Screen) Quit() bool { return s.quit }

// Frame gives what is on the screen, without blanks at the ends of lines.
func (s *Screen) Frame() string { return Trim(s.model.View()) }

// View gives what is on the screen as it is written to a terminal.
func (s *Screen) View() string { return s.model.View() }

// Trim takes blanks from the ends of lines.
func Trim(frame string) string {
	lines := strings.Split(frame, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// Golden compares text with the file at path, or writes it there.
func Golden(tb testing.TB, update bool, path, text string) {
	tb.Helper()
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // the test's own
	if err != nil {
		tb.Fatal(err)
	}
	if text != string(want) {
		tb.Errorf("%s (-want +got):\n%s", path, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")))
	}
}
