package registryauth_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/registry"

	"weft/commands/registryauth"
)

func TestEncoded(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("u:p"))
	dir := t.TempDir()
	config := `{"auths":{"https://index.docker.io/v1/":{"auth":"` + secret + `"},"r.example:5000":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("v:q")) + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"busybox": "u", "docker.io/library/busybox:1": "u", "r.example:5000/a/b@sha256:" + strings.Repeat("0", 64): "v", "other.example/x": "",
	} {
		encoded, err := registryauth.Encoded(dir, image)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := registry.DecodeAuthConfig(encoded)
		if err != nil || auth.Username != want {
			t.Errorf("%s: user %q, %v, want %q", image, auth.Username, err, want)
		}
	}
	if _, err := registryauth.Encoded(dir, "A:B:C"); err == nil || !strings.Contains(err.Error(), "invalid reference format") {
		t.Errorf("a bad reference gives %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registryauth.Encoded(dir, "busybox"); err == nil || !strings.Contains(err.Error(), "read credentials for busybox") {
		t.Errorf("a broken configuration gives %v", err)
	}
}
