package container

import (
	"fmt"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parsePlatform reads OS/ARCH[/VARIANT]; nil is the daemon's choice.
func parsePlatform(s string) (*ocispec.Platform, error) {
	if s == "" {
		return nil, nil
	}
	part := regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	parts := strings.Split(strings.ToLower(s), "/")
	for _, p := range parts {
		if !part.MatchString(p) {
			return nil, badPlatform(s)
		}
	}
	switch len(parts) {
	case 2:
		return normalPlatform(parts[0], parts[1], ""), nil
	case 3:
		return normalPlatform(parts[0], parts[1], parts[2]), nil
	}
	return nil, badPlatform(s)
}

func badPlatform(s string) error {
	return fmt.Errorf("error parsing specified platform: %q: want OS/ARCH or OS/ARCH/VARIANT, as linux/amd64", s)
}

// normalPlatform gives architectures the names images use
// (containerd/platforms, database.go).
func normalPlatform(os, arch, variant string) *ocispec.Platform {
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	case "i386":
		arch = "386"
	case "armhf":
		arch, variant = "arm", "v7"
	case "armel":
		arch, variant = "arm", "v6"
	}
	if arch == "arm64" && (variant == "8" || variant == "v8") {
		variant = ""
	}
	if arch == "arm" && variant == "" {
		variant = "v7"
	}
	return &ocispec.Platform{OS: os, Architecture: arch, Variant: variant}
}
