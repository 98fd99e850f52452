package service

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"weft/commands/cmdtest"
)

// captured makes the verbs write down the options they parsed.
func captured(t *testing.T, got *string) *cobra.Command {
	t.Helper()
	env := cmdtest.NewSession(t, "", nil).Env
	say := func(format string, args ...any) error {
		*got = fmt.Sprintf(format, args...)
		return nil
	}
	cmd := &cobra.Command{Use: "service"}
	cmd.AddCommand(
		newListCommand(env, func(o *listOptions) error {
			return say("quiet=%t format=%q filter=%s", o.quiet, o.format, o.filter.String())
		}),
		newPsCommand(env, func(o *psOptions) error {
			return say("%v quiet=%t resolve=%t trunc=%t format=%q filter=%s", o.services, o.quiet, !o.noResolve, !o.noTrunc, o.format, o.filter.String())
		}),
		newInspectCommand(env, func(o *inspectOptions) error { return say("%v format=%q pretty=%t", o.services, o.format, o.pretty) }),
		newRemoveCommand(env, func(services []string) error { return say("%v", services) }),
		newRollbackCommand(env, func(o *rollbackOptions) error { return say("%s detach=%t quiet=%t", o.service, o.detach, o.quiet) }),
		newScaleCommand(env, func(o *scaleOptions) error { return say("%v detach=%t", o.targets, o.detach) }),
		newLogsCommand(env, func(o *logsOptions) error { return say("%+v", *o) }),
		newUpdateCommand(env, func(o *updateOptions) error {
			return say("%s detach=%t quiet=%t auth=%t resolve=%t back=%t force=%t", o.service, o.flags.detach, o.flags.quiet,
				o.flags.registryAuth, !o.flags.noResolveImage, o.back, o.force)
		}),
	)
	return cmd
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"ls":                           `quiet=false format="" filter=`,
		"list -q --format x -f name=a": `quiet=true format="x" filter={"name":{"a":true}}`,
		"ps a b":                       `[a b] quiet=false resolve=true trunc=true format="" filter=`,
		"ps -q --no-resolve --no-trunc -f node=self --format x a": `[a] quiet=true resolve=false trunc=false format="x" filter={"node":{"self":true}}`,
		"inspect -f x a b":   `[a b] format="x" pretty=false`,
		"inspect --pretty a": `[a] format="" pretty=true`,
		"rm a b":             "[a b]",
		"remove a":           "[a]",
		"rollback -d -q a":   "a detach=true quiet=true",
		"scale a=1 b=2":      "[{a 1} {b 2}] detach=false",
		"scale -d a=x":       "[{a x}] detach=true",
		"logs a":             "{target:a noResolve:false noTrunc:false noTaskIDs:false follow:false since: timestamps:false tail:all details:false raw:false}",
		"logs -f -t -n 5 --since 1m --details --raw --no-resolve --no-trunc --no-task-ids a": "{target:a noResolve:true noTrunc:true noTaskIDs:true follow:true since:1m timestamps:true tail:5 details:true raw:true}",
		"update a": "a detach=false quiet=false auth=false resolve=true back=false force=false",
		"update -dq --with-registry-auth --no-resolve-image --force a": "a detach=true quiet=true auth=true resolve=false back=false force=true",
		"update --rollback a": "a detach=false quiet=false auth=false resolve=true back=true force=false",
	} {
		var got string
		if err := execute(captured(t, &got), strings.Fields(args)); err != nil || got != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", args, got, err, want)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"ls x":                    "accepts no arguments",
		"ls -f x":                 "invalid argument \"x\" for \"-f, --filter\" flag",
		"ps":                      "requires at least 1 argument",
		"inspect":                 "requires at least 1 argument",
		"inspect --pretty -f x a": "--format is incompatible with human friendly format",
		"rm":                      "requires at least 1 argument",
		"rollback a b":            "requires 1 argument",
		"scale":                   "requires at least 1 argument",
		"scale a":                 "invalid scale specifier 'a'.",
		"scale a=":                "invalid scale specifier 'a='.",
		"scale =1":                "invalid scale specifier '=1'.",
		"logs":                    "requires 1 argument",
		"update a b":              "requires 1 argument",
	} {
		var got string
		err := execute(captured(t, &got), strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%s), want an error with %q", args, err, got, want)
		}
	}
}
