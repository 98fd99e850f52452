// Package registryauth finds the credentials Docker's client configuration
// holds for an image's registry, in the form the API's X-Registry-Auth header
// takes.
//
// It reads the configuration file and asks the credential helper named there;
// it stores nothing and never prints a secret.
package registryauth

import (
	"fmt"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/credentials"
	"github.com/docker/docker/api/types/registry"
)

const (
	hubDomain = "docker.io"

	// hubServer is the key under which Docker Hub's credentials are kept.
	hubServer = "https://index.docker.io/v1/"
)

// Encoded gives the credentials for the image's registry, those of an
// anonymous user when there are none. An error is an image reference that does
// not parse, a configuration that cannot be read or a helper that failed.
func Encoded(configDir, image string) (string, error) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	cfg, err := config.Load(configDir)
	if err != nil {
		return "", fmt.Errorf("read credentials for %s: %w", image, err)
	}
	if !cfg.ContainsAuth() {
		cfg.CredentialsStore = credentials.DetectDefaultStore(cfg.CredentialsStore)
	}
	server := reference.Domain(ref)
	if server == hubDomain {
		server = hubServer
	}
	auth, err := cfg.GetAuthConfig(server)
	if err != nil {
		return "", fmt.Errorf("read credentials for %s: %w", image, err)
	}
	encoded, err := registry.EncodeAuthConfig(registry.AuthConfig(auth))
	if err != nil {
		return "", fmt.Errorf("encode credentials for %s: %w", image, err)
	}
	return encoded, nil
}
