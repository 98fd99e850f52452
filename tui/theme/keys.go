package theme

import "github.com/charmbracelet/bubbles/key"

// Keys are the keys of all pages. A page offers those that do something on it.
type Keys struct {
	Quit, Back, Forward, Yes, No key.Binding

	Next, Previous, Left, Right  key.Binding
	Up, Down, PageUp, PageDown   key.Binding
	Scroll                       key.Binding // Up and Down as help shows them
	Again, Resume, Rollback, New key.Binding
	Stop                         key.Binding
}

// NewKeys gives the keys.
func NewKeys() Keys {
	bind := func(help, does string, keys ...string) key.Binding {
		return key.NewBinding(key.WithKeys(keys...), key.WithHelp(help, does))
	}
	return Keys{
		Quit:     bind("ctrl+c", "quit", "ctrl+c"),
		Back:     bind("esc", "back", "esc"),
		Forward:  bind("enter", "go on", "enter"),
		Yes:      bind("y", "yes", "y", "Y"),
		No:       bind("n", "no", "n", "N"),
		Next:     bind("tab", "next", "tab", "down"),
		Previous: bind("shift+tab", "previous", "shift+tab", "up"),
		Left:     bind("left", "before", "left"),
		Right:    bind("right", "choose", "right", " "),
		Up:       bind("up", "up", "up", "k"),
		Down:     bind("down", "down", "down", "j"),
		PageUp:   bind("pgup", "page up", "pgup"),
		PageDown: bind("pgdn", "page down", "pgdown", " "),
		Scroll:   bind("up/down", "scroll"),
		Again:    bind("a", "look again", "a"),
		Resume:   bind("r", "resume", "r"),
		Rollback: bind("b", "roll back", "b"),
		New:      bind("n", "new", "n"),
		Stop:     bind("s", "stop here", "s", "ctrl+c"),
	}
}

// Does gives a key with another word for what it does on a page.
func Does(b key.Binding, what string) key.Binding {
	b.SetHelp(b.Help().Key, what)
	return b
}
