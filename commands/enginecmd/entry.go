package enginecmd

import (
	"os"
	"path/filepath"

	"weft/engine/probe"
	"weft/engine/rootless"
	"weft/engine/runtime"
)

// Entry runs what the engine starts this binary for, by the name it was
// started under: a container's shim, its first process, the program of the
// image weft/probe, the holder of a user namespace. It gives false for every other name.
func Entry(argv []string) (code int, ok bool) {
	if len(argv) == 0 {
		return 0, false
	}
	if code, ok := rootless.Dispatch(argv); ok {
		return code, true
	}
	switch filepath.Base(argv[0]) {
	case runtime.ShimName:
		return runtime.ShimMain(argv[1:]), true
	case runtime.InitName:
		return runtime.InitMain(argv[1:]), true
	case runtime.ProbeName:
		return probe.Main(argv[1:], os.Stdin, os.Stdout, os.Stderr), true //nolint:forbidigo // the probe is a process of its own
	}
	return 0, false
}
