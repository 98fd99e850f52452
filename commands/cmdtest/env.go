package cmdtest

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"weft/commands/cmdenv"
)

// Session is a command line's world in a test: its streams, its environment
// and a clock that stands still.
type Session struct {
	Env      *cmdenv.Env
	Out, Err *bytes.Buffer
	Vars     map[string]string // the environment
}

// Now is what a session's clock shows.
func Now() time.Time { return time.Date(2025, time.June, 1, 12, 0, 0, 0, time.UTC) }

// NewSession gives a world in which only the environment given names an
// engine, and in is typed.
func NewSession(tb testing.TB, in string, vars map[string]string) *Session {
	tb.Helper()
	s := &Session{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Vars: map[string]string{"DOCKER_CONFIG": tb.TempDir()}}
	for key, value := range vars {
		s.Vars[key] = value
	}
	s.Env = cmdenv.New(strings.NewReader(in), s.Out, s.Err, func(key string) string { return s.Vars[key] })
	s.Env.Now = Now
	s.Env.Sockets = cmdenv.Sockets{Docker: tb.TempDir() + "/docker.sock", Weft: []string{tb.TempDir() + "/engine.sock"}}
	return s
}
