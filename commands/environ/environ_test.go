package environ_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weft/commands/environ"
)

func TestJoin(t *testing.T) {
	t.Setenv("OUTSIDE", "here")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\nA=1\nB=2\nOUTSIDE\nABSENT_HERE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := environ.Join([]string{file}, []string{"A=3", "C", "C=4"})
	if want := []string{"B=2", "OUTSIDE=here", "A=3", "C=4"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Join = %q, %v, want %q", got, err, want)
	}
	if _, err := environ.Join([]string{file + "x"}, nil); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestWithProxies(t *testing.T) {
	dir := t.TempDir()
	config := `{"proxies":{"default":{"httpProxy":"http://d"},"unix:///x":{"httpProxy":"http://p","noProxy":"n"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := environ.WithProxies(dir, "unix:///x", []string{"A=1", "NO_PROXY=mine"})
	if want := []string{"A=1", "NO_PROXY=mine", "HTTP_PROXY=http://p", "http_proxy=http://p", "no_proxy=n"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("WithProxies = %q, %v, want %q", got, err, want)
	}
	if got, err = environ.WithProxies(dir, "unix:///other", nil); err != nil || !slices.Equal(got, []string{"HTTP_PROXY=http://d", "http_proxy=http://d"}) {
		t.Errorf("for another host: %q, %v", got, err)
	}
}
