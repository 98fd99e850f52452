// Package tui runs weft's interactive pages on a terminal.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"

	_ "aterm" // before Bubble Tea, which asks the terminal something

	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/guided"
	"weft/tui/theme"
)

// Terminal is where the pages are drawn.
type Terminal struct {
	In     io.Reader
	Out    io.Writer
	Getenv func(string) string
}

// Run leads a person through a task, and says how they have left it. When ctx
// ends the pages do, and so does what they have started; that is no error.
// This is the one place that makes a Bubble Tea program.
func Run(ctx context.Context, t Terminal, task guided.Task) (guided.Ending, error) {
	model := guided.New(ctx, task, theme.New(t.Out, t.Getenv))
	program := tea.NewProgram(model, tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithAltScreen(), tea.WithoutSignalHandler())
	_, err := program.Run()
	ending := model.Finish()
	if ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("run the wizard: %w; --plain asks line by line instead", err)
	}
	return ending, err
}
