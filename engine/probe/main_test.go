package probe

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain is the probe itself when the binary is started under its name, as
// the engine starts its own: tests do that in namespaces.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "probe" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// result is what an applet leaves.
type result struct {
	code     int
	out, err string
}

// call runs an applet in this process, with nothing to read.
func call(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := run(ctx, args, streams{strings.NewReader(""), &out, &errs})
	return result{code, out.String(), errs.String()}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// says fails the test unless the applet ended with code and text, if there is
// any, is in what it wrote.
func (r result) says(tb testing.TB, code int, out, errs string) {
	tb.Helper()
	if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, errs) {
		tb.Errorf("exit %d, want %d\nout: %q, want %q\nerr: %q, want %q", r.code, code, r.out, out, r.err, errs)
	}
	if out == "" && r.out != "" {
		tb.Errorf("out: %q", r.out)
	}
	if errs == "" && r.err != "" {
		tb.Errorf("err: %q", r.err)
	}
}

func TestDispatch(t *testing.T) {
	const list = "Usage: probe [APPLET] [ARGUMENTS]\n\nApplets:\n  serve "
	for _, test := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"--help", 0, list, ""},
		{"-h", 0, list, ""},
		{"help", 0, list, ""},
		{"true", 0, "", ""},
		{"/bin/true", 0, "", ""},
		{"/probe/false", 1, "", ""},
		{"nonsense", codeNotFound, "", "probe: nonsense: not found\n\n" + list},
		{"/bin/nonsense", codeNotFound, "", "probe: /bin/nonsense: not found\n"},
		{"true/", codeNotFound, "", "probe: true/: not found\n"},
		{"TRUE", codeNotFound, "", "probe: TRUE: not found\n"},
		{"-x", codeNotFound, "", "probe: -x: not found\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			call(t.Context(), test.args).says(t, test.code, test.out, test.errs)
		})
	}
	t.Run("empty name", func(t *testing.T) {
		call(t.Context(), "").says(t, codeNotFound, "", "probe: : not found\n")
	})
}

func TestHelpNamesEveryApplet(t *testing.T) {
	all := applets()
	if all[0].name != defaultApplet {
		t.Errorf("%s is not the first", defaultApplet)
	}
	seen := map[string]bool{}
	for _, a := range all {
		if seen[a.name] {
			t.Errorf("%s is there twice", a.name)
		}
		seen[a.name] = true
		if line := strings.TrimSpace(a.name + " " + a.args); !strings.Contains(help(), "  "+line+" ") || !strings.Contains(help(), a.short+"\n") {
			t.Errorf("%q is not in\n%s", line, help())
		}
		if a.name == "true" || a.name == "false" { // which have no use for arguments
			continue
		}
		call(t.Context(), a.name, "--help").says(t, 0, "", fmt.Sprintf("Usage: probe %s %s\n\n%s\n", a.name, a.args, a.short))
	}
}

// TestUsage has the wrong arguments of every applet. None may get so far as to
// do something.
func TestUsage(t *testing.T) {
	for _, test := range []struct{ args, errs string }{
		{"serve 1", "probe serve: too many arguments: 1\nUsage: probe serve \n"},
		{"serve -x", "flag provided but not defined: -x\nUsage: probe serve \n"},
		{"matrix", "probe matrix: an argument is missing\nUsage: probe matrix ADDR...\n"},
		{"matrix -timeout 3 10.98.0.9", `invalid value "3" for flag -timeout`},
		{"reach", "probe reach: an argument is missing\nUsage: probe reach ADDR...\n"},
		{"reach -json 10.98.0.9", "flag provided but not defined: -json\n"},
		{"ping", "probe ping: an argument is missing\nUsage: probe ping ADDR\n"},
		{"ping a b", "probe ping: too many arguments: b\n"},
		{"ping -c x a", `invalid value "x" for flag -c`},
		{"dial tcp", "probe dial: an argument is missing\nUsage: probe dial tcp|udp ADDR:PORT\n"},
		{"dial tcp a b", "probe dial: too many arguments: b\n"},
		{"dial unix /run/x", "probe dial: the protocol is tcp or udp, not unix\n"},
		{"http", "probe http: an argument is missing\nUsage: probe http ADDR[:PORT][/PATH]\n"},
		{"http a b", "probe http: too many arguments: b\n"},
		{"dig", "probe dig: an argument is missing\nUsage: probe dig [@SERVER] NAME [TYPE]\n"},
		{"dig @127.0.0.1", "probe dig: name a name\n"},
		{"dig a A b", "probe dig: name a name\n"},
		{"dig @127.0.0.1 a A b", "probe dig: too many arguments: b\n"},
		{"dig web NONSENSE", "probe dig: unknown type NONSENSE\n"},
		{"ip addr show", "probe ip: too many arguments: show\n"},
		{"sleep", "probe sleep: an argument is missing\nUsage: probe sleep DURATION\n"},
		{"sleep 1 2", "probe sleep: too many arguments: 2\n"},
		{"sleep -1", "flag provided but not defined: -1\n"},
		{"cat -n", "flag provided but not defined: -n\nUsage: probe cat FILE...\n"},
		{"env x", "probe env: too many arguments: x\n"},
		{"hostname x", "probe hostname: too many arguments: x\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			call(t.Context(), strings.Fields(test.args)...).says(t, codeUsage, "", test.errs)
		})
	}
}

func TestExitCodes(t *testing.T) {
	interrupted, cancel := context.WithCancelCause(context.Background())
	cancel(caught{2})
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		code int
		errs string
	}{
		"nothing wrong":          {t.Context(), nil, 0, ""},
		"help":                   {t.Context(), flag.ErrHelp, 0, ""},
		"said already":           {t.Context(), exit(7), 7, ""},
		"wrong usage":            {t.Context(), usage("no"), codeUsage, "probe x: no\nUsage: probe x Y\n"},
		"wrapped":                {t.Context(), fmt.Errorf("a: %w", usage("no")), codeUsage, "probe x: no\n"},
		"an error":               {t.Context(), errors.New("broken"), 1, "probe x: broken\n"},
		"interrupted":            {interrupted, context.Canceled, 130, ""},
		"interrupted in a round": {interrupted, exit(1), 130, ""},
		"ended by a signal":      {interrupted, nil, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var errs bytes.Buffer
			got := code(test.ctx, streams{err: &errs}, applet{name: "x", args: "Y"}, test.err)
			result{got, "", errs.String()}.says(t, test.code, "", test.errs)
		})
	}
}
