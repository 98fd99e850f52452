package container

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"weft/commands/cmdtest"
)

func said[T any](p *T) string {
	if p == nil {
		return "unset"
	}
	return fmt.Sprint(*p)
}

// captured makes the verbs write down the options they parsed.
func captured(t *testing.T, got *string) *cobra.Command {
	t.Helper()
	env := cmdtest.NewSession(t, "", nil).Env
	say := func(format string, args ...any) error {
		*got = fmt.Sprintf(format, args...)
		return nil
	}
	cmd := &cobra.Command{Use: "container"}
	cmd.AddCommand(
		newRunCommand(env, func(o *runOptions) error {
			return say("%s %v name=%q pull=%s platform=%q quiet=%t detach=%t proxy=%t keys=%q", o.image, o.args, o.name, o.pull, o.platform,
				o.quiet, o.detach, o.sigProxy, o.detachKeys)
		}),
		newCreateCommand(env, func(o *createOptions) error { return say("%s %v name=%q pull=%s", o.image, o.args, o.name, o.pull) }),
		newPsCommand(env, func(o *psOptions) error {
			return say("quiet=%t size=%s all=%t full=%t latest=%t last=%d format=%q filter=%s", o.quiet, said(o.size), o.all, o.noTrunc, o.latest,
				o.last, o.format, o.filter.String())
		}),
		newStopCommand(env, func(o *stopOptions) error {
			return say("%v signal=%q timeout=%s", o.containers, o.signal, said(o.timeout))
		}),
		newKillCommand(env, func(o *killOptions) error { return say("%v signal=%q", o.containers, o.signal) }),
		newRemoveCommand(env, func(o *removeOptions) error {
			return say("%v volumes=%t link=%t force=%t", o.containers, o.volumes, o.link, o.force)
		}),
		newStartCommand(env, func(o *startOptions) error {
			return say("%v attach=%t stdin=%t keys=%q", o.containers, o.attach, o.stdin, o.detachKeys)
		}),
		newAttachCommand(env, func(o *attachOptions) error {
			return say("%s stdin=%t proxy=%t keys=%q", o.container, !o.noStdin, o.sigProxy, o.detachKeys)
		}),
		newInspectCommand(env, func(o *inspectOptions) error { return say("%v format=%q size=%t", o.containers, o.format, o.size) }),
		newLogsCommand(env, func(o *logsOptions) error { return say("%+v", *o) }),
		newPortCommand(env, func(o *portOptions) error { return say("%s %q", o.container, o.port) }),
	)
	return cmd
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"run img": `img [] name="" pull=missing platform="" quiet=false detach=false proxy=true keys=""`,
		"run -dq --name n --pull never --platform a/b --sig-proxy=false --detach-keys ctrl-a img c -d": `img [c -d] name="n" pull=never platform="a/b" quiet=true detach=true proxy=false keys="ctrl-a"`,
		"create --name n img c": `img [c] name="n" pull=missing`,
		"ps":                    `quiet=false size=unset all=false full=false latest=false last=-1 format="" filter=`,
		"ps -aqsl -n 3 --no-trunc --format x -f name=a": `quiet=true size=true all=true full=true latest=true last=3 format="x" filter={"name":{"a":true}}`,
		"ps --size=false":             `quiet=false size=false all=false full=false latest=false last=-1 format="" filter=`,
		"stop a b":                    `[a b] signal="" timeout=unset`,
		"stop -t 0 -s INT a":          `[a] signal="INT" timeout=0`,
		"stop --time 5 a":             `[a] signal="" timeout=5`,
		"kill -s HUP a b":             `[a b] signal="HUP"`,
		"rm -fvl a":                   "[a] volumes=true link=true force=true",
		"start a b":                   `[a b] attach=false stdin=false keys=""`,
		"start -ai --detach-keys x a": `[a] attach=true stdin=true keys="x"`,
		"attach a":                    `a stdin=true proxy=true keys=""`,
		"attach --no-stdin --sig-proxy=false --detach-keys x a": `a stdin=false proxy=false keys="x"`,
		"inspect -s -f x a b": `[a b] format="x" size=true`,
		"logs a":              "{container:a follow:false since: until: timestamps:false details:false tail:all}",
		"logs -ft -n 2 --since 1 --until 2 --details a": "{container:a follow:true since:1 until:2 timestamps:true details:true tail:2}",
		"port a":        `a ""`,
		"port a 80/udp": `a "80/udp"`,
	} {
		var got string
		if err := execute(captured(t, &got), strings.Fields(args)); err != nil || got != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", args, got, err, want)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"create":                      "requires at least 1 argument",
		"ps x":                        "accepts no arguments",
		"stop":                        "requires at least 1 argument",
		"stop --time 1 --timeout 1 a": "conflicting options: cannot specify both --timeout and --time",
		"kill":                        "requires at least 1 argument",
		"rm":                          "requires at least 1 argument",
		"start":                       "requires at least 1 argument",
		"attach a b":                  "requires 1 argument",
		"inspect":                     "requires at least 1 argument",
		"logs a b":                    "requires 1 argument",
		"port":                        "requires at least 1 and at most 2 arguments",
		"port a b c":                  "requires at least 1 and at most 2 arguments",
	} {
		var got string
		err := execute(captured(t, &got), strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%s), want an error with %q", args, err, got, want)
		}
	}
}
