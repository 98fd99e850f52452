package runtime

import (
	"errors"
	"strings"
	"testing"

	"weft/engine/model"
)

func TestExitCodes(t *testing.T) {
	b := newBed(t)
	for _, want := range []string{"0", "1", "42", "255"} {
		st, _, _ := b.run("exit", want)
		if got := st.Code; strings.TrimSpace(want) != itoa(got) {
			t.Errorf("exit %s: got %d", want, got)
		}
		if st.Finished.IsZero() || st.Err != "" {
			t.Errorf("exit %s: %+v", want, st)
		}
	}
}

func TestStreams(t *testing.T) {
	b := newBed(t)
	_, out, errs := b.run("both")
	if out != "out 0\nout 1\nout 2\n" || errs != "err 0\nerr 1\nerr 2\n" {
		t.Errorf("got %q and %q", out, errs)
	}
	if _, out, _ := b.run("printf", "no end of line"); out != "no end of line" {
		t.Errorf("got %q", out)
	}
}

func TestCommandNotFound(t *testing.T) {
	b := newBed(t)
	cases := []struct {
		name, entry string
		code        int
		text        string
	}{
		{"not in PATH", "nosuch", 127, `exec: "nosuch": executable file not found in $PATH`},
		{"no file", "/no/such", 127, `exec: "/no/such": stat /no/such: no such file or directory`},
		{"not executable", "/etc/passwd", 126, `exec: "/etc/passwd": permission denied`},
		{"directory", "/etc", 126, `exec: "/etc": is a directory`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			id := b.create(model.ProcessSpec{Entrypoint: []string{c.entry}})
			_, err := b.Start(t.Context(), id)
			if !isExec(err, c.code) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			st, err := b.State(t.Context(), id)
			if err != nil || st.Status != model.StateCreated {
				t.Errorf("state %+v %v", st, err)
			}
			if _, err := b.Wait(t.Context(), id); err == nil {
				t.Error("waited for a container that was never started")
			}
		})
	}
	if _, err := b.Start(t.Context(), "nosuch"); err == nil || errors.As(err, new(*ExecError)) {
		t.Errorf("start of nothing: %v", err)
	}
}
