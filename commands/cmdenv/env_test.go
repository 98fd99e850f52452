package cmdenv_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

func TestConfirm(t *testing.T) {
	for in, want := range map[string]bool{"y\n": true, " Y \nrest": true, "yes\n": false, "n\n": false, "\n": false, "": false} {
		s := cmdtest.NewSession(t, in, nil)
		got, err := s.Env.Confirm(t.Context(), "Sure?")
		if err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
		if s.Out.String() != "Sure? [y/N] " {
			t.Errorf("%q: asked %q", in, s.Out)
		}
	}
}

// A prompt ends with its context though the input does not.
func TestConfirmCancelled(t *testing.T) {
	s := cmdtest.NewSession(t, "", nil)
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	s.Env.In = in
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := s.Env.Confirm(ctx, "Sure?"); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestConfig(t *testing.T) {
	s := cmdtest.NewSession(t, "", nil)
	if got := s.Env.Config(); got.CurrentContext != "" || s.Err.Len() != 0 {
		t.Errorf("without a file: %+v, %q", got, s.Err)
	}
	s = cmdtest.NewSession(t, "", nil)
	path := filepath.Join(s.Vars["DOCKER_CONFIG"], "config.json")
	writeFile(t, path, `{"currentContext":"x","pruneFilters":["label=a"],"HttpHeaders":{"A":"b"},"auths":{"r":{}}}`)
	got := s.Env.Config()
	if got.CurrentContext != "x" || len(got.PruneFilters) != 1 || got.HTTPHeaders["A"] != "b" {
		t.Errorf("got %+v", got)
	}
	s = cmdtest.NewSession(t, "", map[string]string{"DOCKER_CONFIG": filepath.Dir(path)})
	writeFile(t, path, `{"currentContext":`)
	if got := s.Env.Config(); got.CurrentContext != "" {
		t.Errorf("from a broken file: %+v", got)
	}
	if want := "WARNING: Error loading config file: " + path + ": "; !strings.HasPrefix(s.Err.String(), want) {
		t.Errorf("stderr %q, want %q first", s.Err, want)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	if err := (cmdenv.StatusError{Code: 3, Cause: cause}); err.Error() != "cause" || !errors.Is(err, cause) {
		t.Errorf("status error: %v", err)
	}
	if err := cmdenv.Cancelled("no"); !errdefs.IsCanceled(err) || err.Error() != "no" {
		t.Errorf("cancelled: %v", err)
	}
	err := cmdenv.WithHint(cause, "help")
	if err.Error() != "cause" || !errors.Is(err, cause) || cmdenv.Hint(err) != "help" || cmdenv.Hint(cause) != "" {
		t.Errorf("hint: %v, %q", err, cmdenv.Hint(err))
	}
}

func TestDefaultSockets(t *testing.T) {
	vars := map[string]string{"XDG_RUNTIME_DIR": "/run/user/7"}
	getenv := func(key string) string { return vars[key] }
	for uid, want := range map[int]string{0: "/run/weft/engine.sock", 7: "/run/user/7/weft/engine.sock /run/weft/engine.sock"} {
		got := cmdenv.DefaultSockets(uid, getenv)
		if strings.Join(got.Weft, " ") != want || got.Docker != "/var/run/docker.sock" {
			t.Errorf("uid %d: %+v, want %s", uid, got, want)
		}
	}
	vars = map[string]string{"HOME": "/home/u"}
	if got := cmdenv.DefaultSockets(7, getenv); got.Weft[0] != "/home/u/.local/share/weft/run/engine.sock" {
		t.Errorf("without XDG_RUNTIME_DIR: %v", got.Weft)
	}
}

func TestDefaultDirs(t *testing.T) {
	for _, c := range []struct {
		name string
		uid  int
		vars map[string]string
		want cmdenv.Dirs
	}{
		{"root", 0, map[string]string{"HOME": "/root", "XDG_DATA_HOME": "/x"}, cmdenv.Dirs{Data: "/var/lib/weft", Run: "/run/weft"}},
		{"user", 7, map[string]string{"HOME": "/home/u", "XDG_RUNTIME_DIR": "/r"}, cmdenv.Dirs{Data: "/home/u/.local/share/weft", Run: "/r/weft"}},
		{"user with a data directory", 7, map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/r"}, cmdenv.Dirs{Data: "/d/weft", Run: "/r/weft"}},
		{"relative paths are to be ignored", 7, map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "d", "XDG_RUNTIME_DIR": "r"}, cmdenv.Dirs{Data: "/home/u/.local/share/weft", Run: "/home/u/.local/share/weft/run"}},
		{"in a user namespace", 0, map[string]string{"HOME": "/home/u", "XDG_RUNTIME_DIR": "/r", cmdenv.RootlessVar: "1:x"}, cmdenv.Dirs{Data: "/home/u/.local/share/weft", Run: "/r/weft"}},
	} {
		if got := cmdenv.DefaultDirs(c.uid, func(key string) string { return c.vars[key] }); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
