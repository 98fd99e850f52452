package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// etcFiles are the files in /etc that belong to the container rather than to
// its image. They are in the bundle's directory and bound into the container.
var etcFiles = []string{"hostname", "hosts", "resolv.conf"}

// loopbackHosts begins /etc/hosts, as Docker's does
// (libnetwork/etchosts/etchosts.go).
const loopbackHosts = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

// writeEtc writes the files into a bundle's directory.
func writeEtc(dir, hostname string, hosts []HostEntry, resolve Resolve) error {
	files := map[string]string{
		"hostname":    hostname + "\n",
		"hosts":       hostsFile(hosts),
		"resolv.conf": resolve.file(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // every user reads them
			return err
		}
	}
	return nil
}

func hostsFile(entries []HostEntry) string {
	var s strings.Builder
	s.WriteString(loopbackHosts)
	for _, e := range entries {
		fmt.Fprintf(&s, "%s\t%s\n", e.Addr, strings.Join(e.Names, " "))
	}
	return s.String()
}

func (r Resolve) file() string {
	var s strings.Builder
	for _, a := range r.Servers {
		fmt.Fprintf(&s, "nameserver %s\n", a)
	}
	if len(r.Search) > 0 {
		fmt.Fprintf(&s, "search %s\n", strings.Join(r.Search, " "))
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&s, "options %s\n", strings.Join(r.Options, " "))
	}
	return s.String()
}

// SetNames writes the names a container resolves: /etc/hosts after the
// loopback lines, and /etc/resolv.conf. A process that runs sees the change.
func (r *Runtime) SetNames(id string, hosts []HostEntry, resolve Resolve) error {
	if err := r.exists(id); err != nil {
		return err
	}
	if err := checkFiles(hosts, resolve); err != nil {
		return err
	}
	// In place: what is bound into a container is this file, not this name.
	for name, text := range map[string]string{"hosts": hostsFile(hosts), "resolv.conf": resolve.file()} {
		if err := os.WriteFile(filepath.Join(r.bundleDir(id), name), []byte(text), 0o644); err != nil { //nolint:gosec // every user reads them
			return fmt.Errorf("write names of container %s: %w", id, err)
		}
	}
	return nil
}
