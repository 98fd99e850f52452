package commands_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"weft/commands"
	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
	"weft/commands/render"
)

func TestExitCodes(t *testing.T) {
	tests := map[string]struct {
		err    error
		code   int
		stderr string
	}{
		"done":              {},
		"error":             {err: errors.New("no such thing"), code: 1, stderr: "no such thing\n"},
		"status":            {err: cmdenv.StatusError{Code: 10, Status: "refused"}, code: 10, stderr: "refused\n"},
		"status of a cause": {err: cmdenv.StatusError{Code: 125, Cause: errors.New("bad")}, code: 125, stderr: "bad\n"},
		"silent status":     {err: cmdenv.StatusError{Code: 42}, code: 42},
		"wrapped status":    {err: fmt.Errorf("run: %w", cmdenv.StatusError{Code: 11, Status: "no"}), code: 11, stderr: "run: no\n"},
		"answered no":       {err: cmdenv.Cancelled("asked and said no")},
		"template":          {err: fmt.Errorf("%w: x", render.ErrTemplate), code: 64, stderr: "template parsing error: x\n"},
		"hint":              {err: cmdenv.WithHint(errors.New("bind"), "Who has it?"), code: 1, stderr: "bind\n\nWho has it?\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := cmdtest.NewSession(t, "", nil)
			code := commands.Run(t.Context(), s.Env, []string{"probe"}, func(*cmdenv.Env) *cobra.Command {
				return &cobra.Command{Use: "probe", RunE: func(*cobra.Command, []string) error { return test.err }}
			})
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if got := s.Err.String(); got != test.stderr {
				t.Errorf("stderr %q, want %q", got, test.stderr)
			}
		})
	}
}

// A signal ends the context; whatever the command makes of that, the exit code
// is the signal's and nothing is printed.
func TestSignalExitCode(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s := cmdtest.NewSession(t, "", nil)
		for _, give := range []func(context.Context) error{context.Cause, context.Context.Err} {
			code := commands.Run(ctx, s.Env, []string{"probe"}, func(*cmdenv.Env) *cobra.Command {
				return &cobra.Command{Use: "probe", RunE: func(cmd *cobra.Command, _ []string) error {
					cancel(commands.Signal{Number: signal})
					<-cmd.Context().Done()
					return fmt.Errorf("wait: %w", give(cmd.Context()))
				}}
			})
			if code != 128+int(signal) || s.Err.Len() != 0 {
				t.Errorf("%v: exit code %d, stderr %q", signal, code, s.Err)
			}
		}
	}
}

func TestUsageErrors(t *testing.T) {
	tests := map[string]struct {
		args   string
		code   int
		stderr string
	}{
		"unknown command":    {"frob x", 1, "weft: unknown command: weft frob\n\nRun 'weft --help' for more information\n"},
		"unknown root flag":  {"--frob", 125, "unknown flag: --frob\n\nUsage:  weft [OPTIONS] COMMAND [ARG...]\n\nRun 'weft --help' for more information\n"},
		"unknown flag":       {"node ls --frob", 125, "unknown flag: --frob\n\nUsage:  weft node ls [OPTIONS]\n\nRun 'weft node ls --help' for more information\n"},
		"unknown subcommand": {"node frob", 1, "weft: unknown command: weft node frob\n\nUsage:  weft node\n\nRun 'weft node --help' for more information\n"},
		"too many arguments": {"node ls x", 1, "weft: 'weft node ls' accepts no arguments\n\nUsage:  weft node ls [OPTIONS]\n\nRun 'weft node ls --help' for more information\n"},
		"too few arguments":  {"network rm", 1, "weft: 'weft network rm' requires at least 1 argument\n\nUsage:  weft network rm NETWORK [NETWORK...]\n\nSee 'weft network rm --help' for more information\n"},
		"wrong number":       {"network connect x", 1, "weft: 'weft network connect' requires 2 arguments\n\nUsage:  weft network connect [OPTIONS] NETWORK CONTAINER\n\nRun 'weft network connect --help' for more information\n"},
		"both ways to say":   {"-H a -c b node ls", 1, "conflicting options: cannot specify both --host and --context\n"},
		"two hosts":          {"-H a -H b node ls", 125, "invalid argument \"b\" for \"-H, --host\" flag: specify only one -H\n\nUsage:  weft [OPTIONS] COMMAND [ARG...]\n\nRun 'weft --help' for more information\n"},
		"unknown engine":     {"--engine podman node ls", 125, "invalid engine \"podman\": --engine (or WEFT_ENGINE) is builtin or docker\n"},
		"unknown level":      {"-l loud node ls", 1, "Unable to parse logging level: loud\n"},
		"unknown help topic": {"help frob", 1, "unknown help topic: frob\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := cmdtest.NewSession(t, "", nil)
			code := commands.Run(t.Context(), s.Env, strings.Fields(test.args))
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if diff := cmp.Diff(test.stderr, s.Err.String()); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
			if s.Out.Len() != 0 {
				t.Errorf("stdout %q, want nothing", s.Out)
			}
		})
	}
}

// Help is Docker's in shape and opens no socket.
func TestHelp(t *testing.T) {
	for _, args := range []string{
		"network --help", "network create --help", "network ls --help", "network rm --help",
		"swarm --help", "swarm init --help", "swarm join --help", "node --help", "node update --help",
	} {
		t.Run(args, func(t *testing.T) {
			s := cmdtest.NewSession(t, "", map[string]string{"DOCKER_HOST": "unix:///nowhere.sock"})
			if code := commands.Run(t.Context(), s.Env, strings.Fields(args)); code != 0 || s.Err.Len() != 0 {
				t.Fatalf("exit code %d, stderr %q", code, s.Err)
			}
			name := strings.ReplaceAll(strings.TrimSuffix(args, " --help"), " ", "-")
			golden(t, filepath.Join("testdata", "help", name+".golden"), s.Out.String())
		})
	}
}

func TestVersion(t *testing.T) {
	s := cmdtest.NewSession(t, "", nil)
	if code := commands.Run(t.Context(), s.Env, []string{"--version"}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	want := "weft version " + cmdenv.Version + ", build " + cmdenv.Build() + "\n"
	if s.Out.String() != want {
		t.Errorf("got %q, want %q", s.Out, want)
	}
}

// golden compares text with a file, or writes the file with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
