package container

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// completeConfig makes offers for the flags that create and run share.
func completeConfig(cmd *cobra.Command, env *cmdenv.Env) {
	containers := complete.Containers(env, true, nil)
	for flag, words := range map[string][]string{
		"attach":       {"stderr", "stdin", "stdout"},
		"cgroupns":     {"host", "private"},
		"ipc":          {"container:", "host", "none", "private", "shareable"},
		"pid":          {"container:", "host"},
		"platform":     {"linux/386", "linux/amd64", "linux/arm", "linux/arm/v6", "linux/arm64", "linux/ppc64le", "linux/riscv64", "linux/s390x"},
		"pull":         {pullAlways, pullMissing, pullNever},
		"restart":      restartPolicies(),
		"security-opt": {"apparmor=", "label=disable", "no-new-privileges", "seccomp=", "seccomp=unconfined", "systempaths=unconfined"},
		"stop-signal":  signalNames(),
		"userns":       {"host"},
		"uts":          {"host"},
	} {
		complete.Flag(cmd, flag, complete.Words(words...))
	}
	limits := complete.Words("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
		"sigpending", "stack")
	complete.Flag(cmd, "ulimit", complete.Suffixed(limits, "="))
	complete.Flag(cmd, "storage-opt", complete.Suffixed(complete.Words("size"), "="))
	complete.Flag(cmd, "network", complete.Networks(env))
	complete.Flag(cmd, "link", complete.Suffixed(containers, ":"))
	complete.Flag(cmd, "volumes-from", containers)
	complete.Flag(cmd, "log-driver", plugins(env, func(p system.PluginsInfo) []string { return p.Log }))
	complete.Flag(cmd, "volume-driver", plugins(env, func(p system.PluginsInfo) []string { return p.Volume }))
	for _, flag := range []string{"env-file", "label-file", "cidfile", "device", "volume"} {
		complete.Flag(cmd, flag, complete.Files)
	}
}

func restartPolicies() []string {
	return []string{
		string(container.RestartPolicyDisabled), string(container.RestartPolicyAlways), string(container.RestartPolicyOnFailure),
		string(container.RestartPolicyUnlessStopped),
	}
}

type informer interface {
	Info(ctx context.Context) (system.Info, error)
}

// plugins offers some of the plugins that the engine has.
func plugins(env *cmdenv.Env, which func(system.PluginsInfo) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var api informer
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		info, err := api.Info(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return which(info.Plugins), cobra.ShellCompDirectiveNoFileComp
	}
}
