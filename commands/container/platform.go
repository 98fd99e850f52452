package container

import (
	"fmt"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parsePlatform reads OS[/ARCH[/VARIANT]]; nil is the daemon's choice.
func parsePlatform(s string) (*ocispec.Platform, error) {
	if s == "" {
		return nil, nil
	}
	platform, err := platforms.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("error parsing specified platform: %w", err)
	}
	return &platform, nil
}
