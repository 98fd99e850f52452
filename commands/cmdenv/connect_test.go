package cmdenv_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

// world is four engines, one for each way to find one.
type world struct {
	*cmdtest.Session

	servers map[string]*cmdtest.Server // flag, env, context, current, docker, weft
}

func newWorld(t *testing.T, running ...string) *world {
	t.Helper()
	w := &world{Session: cmdtest.NewSession(t, "", nil), servers: map[string]*cmdtest.Server{}}
	for _, name := range running {
		w.servers[name] = cmdtest.New(t)
	}
	if s := w.servers["docker"]; s != nil {
		w.Env.Sockets.Docker = s.Socket
	}
	if s := w.servers["weft"]; s != nil {
		s.PingHeader(cmdenv.APIHeader, "1")
		w.Env.Sockets.Weft = []string{filepath.Join(t.TempDir(), "none.sock"), s.Socket}
	}
	for _, name := range []string{"context", "current"} {
		if s := w.servers[name]; s != nil {
			addContext(t, w.Vars["DOCKER_CONFIG"], name, s.Host())
		}
	}
	return w
}

// addContext writes a docker context as `docker context create` does.
func addContext(t *testing.T, dir, name, host string) {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	path := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]), "meta.json")
	data, err := json.Marshal(map[string]any{
		"Name": name, "Metadata": map[string]any{},
		"Endpoints": map[string]any{"docker": map[string]any{"Host": host, "SkipTLSVerify": false}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// parse gives flags to the session's Env.
func (w *world) parse(t *testing.T, args ...string) {
	t.Helper()
	flags := pflag.NewFlagSet("weft", pflag.ContinueOnError)
	w.Env.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := w.Env.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestWhichEngine(t *testing.T) {
	all := []string{"flag", "env", "context", "current", "docker", "weft"}
	tests := map[string]struct {
		running []string
		env     []string // of servers: DOCKER_HOST
		vars    map[string]string
		config  string
		flags   []string // @name is a server's address
		want    string
		found   string
		kind    cmdenv.Kind
	}{
		"--host before all": {
			running: all, vars: map[string]string{"DOCKER_HOST": "@env", "DOCKER_CONTEXT": "context"}, config: "current",
			flags: []string{"-H", "@flag"}, want: "flag", found: "--host", kind: cmdenv.KindDocker,
		},
		"--context before DOCKER_HOST": {
			running: all, vars: map[string]string{"DOCKER_HOST": "@env"}, config: "current",
			flags: []string{"-c", "context"}, want: "context", found: `context "context" (--context)`, kind: cmdenv.KindDocker,
		},
		"DOCKER_HOST before DOCKER_CONTEXT": {
			running: all, vars: map[string]string{"DOCKER_HOST": "@env", "DOCKER_CONTEXT": "context"}, config: "current",
			want: "env", found: "DOCKER_HOST", kind: cmdenv.KindDocker,
		},
		"DOCKER_CONTEXT before the current context": {
			running: all, vars: map[string]string{"DOCKER_CONTEXT": "context"}, config: "current",
			want: "context", found: `context "context" (DOCKER_CONTEXT)`, kind: cmdenv.KindDocker,
		},
		"current context before sockets": {
			running: all, config: "current", want: "current", found: `context "current" (current context)`, kind: cmdenv.KindDocker,
		},
		"docker's socket before weft's": {
			running: all, want: "docker", found: "default docker socket", kind: cmdenv.KindDocker,
		},
		"the default context names nothing": {
			running: all, config: "current", flags: []string{"-c", "default"}, want: "docker", found: "default docker socket", kind: cmdenv.KindDocker,
		},
		"weft's socket where docker's does not answer": {
			running: []string{"weft"}, want: "weft", found: "default weft socket", kind: cmdenv.KindBuiltin,
		},
		"--engine builtin passes docker's socket over": {
			running: all, flags: []string{"--engine", "builtin"}, want: "weft", found: "default weft socket", kind: cmdenv.KindBuiltin,
		},
		"WEFT_ENGINE counts as --engine": {
			running: all, vars: map[string]string{"WEFT_ENGINE": "builtin"}, want: "weft", found: "default weft socket", kind: cmdenv.KindBuiltin,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.running...)
			for key, value := range test.vars {
				w.Vars[key] = w.address(value)
			}
			if test.config != "" {
				writeFile(t, filepath.Join(w.Vars["DOCKER_CONFIG"], "config.json"), `{"currentContext":"`+test.config+`"}`)
			}
			for i := range test.flags {
				test.flags[i] = w.address(test.flags[i])
			}
			w.parse(t, test.flags...)
			got, err := w.Env.Engine(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := cmdenv.Engine{Kind: test.kind, Host: w.servers[test.want].Host(), Found: test.found}
			if test.kind == cmdenv.KindBuiltin {
				want.WeftAPI = "1"
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if err := w.Env.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func (w *world) address(text string) string {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		return w.servers[name].Host()
	}
	return text
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// One error names both ways out, and says what is wrong with each socket.
func TestNoEngineAnswers(t *testing.T) {
	w := newWorld(t)
	dead := filepath.Join(t.TempDir(), "dead.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	w.Env.Sockets.Docker = dead
	w.parse(t)
	_, err = w.Env.Client(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	want := "no engine answers at unix://" + dead + " (connection refused) or unix://" + w.Env.Sockets.Weft[0] +
		" (no such file or directory); start weft's own with `weft engine start`, or name one with --host"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if _, again := w.Env.Client(t.Context()); again == nil || again.Error() != want {
		t.Errorf("second call: %v", again)
	}
}

func TestEngineOnlyWanted(t *testing.T) {
	for engine, socket := range map[string]string{"docker": "docker.sock", "builtin": "engine.sock"} {
		w := newWorld(t)
		w.parse(t, "--engine", engine)
		_, err := w.Env.Client(t.Context())
		if err == nil || !strings.Contains(err.Error(), socket) || strings.Contains(err.Error(), " or unix") {
			t.Errorf("--engine %s: %v", engine, err)
		}
	}
}

// The client settles on the engine's version, unless DOCKER_API_VERSION says one.
func TestAPIVersion(t *testing.T) {
	w := newWorld(t, "docker")
	w.parse(t)
	c, err := w.Env.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ClientVersion(); got != cmdtest.APIVersion {
		t.Errorf("negotiated %s, want %s", got, cmdtest.APIVersion)
	}
	t.Setenv("DOCKER_API_VERSION", "1.30")
	w = newWorld(t, "docker")
	w.parse(t)
	if c, err = w.Env.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.ClientVersion(); got != "1.30" {
		t.Errorf("fixed %s, want 1.30", got)
	}
}

func TestBadTargets(t *testing.T) {
	tests := map[string]struct {
		flags []string
		vars  map[string]string
		want  string
	}{
		"scheme":          {flags: []string{"-H", "ftp://x"}, want: "invalid bind address format: ftp://x"},
		"unknown context": {vars: map[string]string{"DOCKER_CONTEXT": "nope"}, want: `context "nope": context not found`},
		"no CA":           {flags: []string{"--tlsverify", "-H", "tcp://127.0.0.1:1"}, want: "ca.pem: no such file or directory"},
		"ssh path":        {flags: []string{"-H", "ssh://host/%zz"}, want: "unable to resolve docker endpoint"},
		"headers":         {flags: []string{"-H", "unix:///x"}, vars: map[string]string{"DOCKER_CUSTOM_HEADERS": "a"}, want: `missing "=" in key=value pair: 'a'`},
		"header key":      {flags: []string{"-H", "unix:///x"}, vars: map[string]string{"DOCKER_CUSTOM_HEADERS": "=a"}, want: "empty key"},
		"not there":       {flags: []string{"-H", "unix:///nowhere.sock"}, want: "Cannot connect to the Docker daemon at unix:///nowhere.sock. Is the docker daemon running?"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for key, value := range test.vars {
				w.Vars[key] = value
			}
			w.parse(t, test.flags...)
			_, err := w.Env.Client(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
