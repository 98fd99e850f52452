package commands_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"weft/commands"
	"weft/commands/cmdtest"
	"weft/engine/lab"
)

var update = flag.Bool("update", false, "write golden files and the outputs in scripts anew")

func TestMain(m *testing.M) {
	if code, ours := lab.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	if os.Getenv("WEFT_HURRY") != "" {
		os.Exit(hurried())
	}
	os.Exit(testscript.RunMain(m, map[string]func() int{
		"weft": func() int { return commands.Main(os.Args[1:]) },
		"ssh":  bridge,
	}))
}

// serverKey finds a script's API server in its environment.
type serverKey struct{}

// TestScript runs testdata/script. Each script has an API of its own, at
// DOCKER_HOST, and these commands for it:
//
//	answer METHOD PATH STATUS [FILE]   how to answer a request, in turn
//	ping HEADER VALUE                  add a header to the answer to /_ping
//	requests FILE                      FILE holds what was asked since
//	exitcode N COMMAND [ARG...]        weft or another program ends with N
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "weft-script") // short enough for a socket
			if err != nil {
				return err
			}
			server, err := cmdtest.Start(filepath.Join(dir, "api.sock"))
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := server.Close(); err != nil {
					t.Error(err)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			env.Values[serverKey{}] = server
			env.Setenv("DOCKER_HOST", server.Host())
			env.Setenv("DOCKER_CONFIG", filepath.Join(env.WorkDir, ".docker"))
			env.Setenv("WEFT_ENGINE", "")
			env.Setenv("BRIDGE_SOCKET", server.Socket)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answer": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) < 3 || len(args) > 4 {
					ts.Fatalf("usage: answer METHOD PATH STATUS [FILE]")
				}
				status, err := strconv.Atoi(args[2])
				ts.Check(err)
				body := ""
				if len(args) == 4 {
					body = ts.ReadFile(args[3])
				}
				serverOf(ts).Answer(args[0]+" "+args[1], status, body)
			},
			"ping": func(ts *testscript.TestScript, _ bool, args []string) {
				serverOf(ts).PingHeader(args[0], args[1])
			},
			"requests": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(serverOf(ts).Requests()), 0o600))
			},
			"exitcode": exitCode,
		},
	})
}

func serverOf(ts *testscript.TestScript) *cmdtest.Server {
	return ts.Value(serverKey{}).(*cmdtest.Server)
}

// exitCode runs a program and wants its exit code, which testscript's own exec
// only tells from zero.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N COMMAND [ARG...]")
	}
	want := args[0]
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("exit code %s, want %s", got, want)
	}
}
