package apitest

import (
	"context"
	"runtime"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"

	"weft/engine/dockerapi"
)

type systemBackend struct{ e *Engine }

func (b systemBackend) Info(context.Context) (system.Info, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if b.e.panics {
		panic("asked to")
	}
	return system.Info{
		ID: "fake", Name: "fake", ServerVersion: Version, OSType: "linux", Architecture: "x86_64", Containers: len(b.e.containers),
		Driver: "fake", Runtimes: map[string]system.RuntimeWithStatus{}, SecurityOptions: []string{"name=seccomp,profile=builtin"},
	}, nil
}

func (systemBackend) Version(context.Context) (types.Version, error) {
	return types.Version{
		Version: Version, APIVersion: dockerapi.MaxVersion, MinAPIVersion: dockerapi.MinVersion,
		Os: "linux", Arch: runtime.GOARCH, GoVersion: runtime.Version(),
	}, nil
}
