package runtime

import (
	"fmt"
	"os"
	"strings"
)

// loopbackHosts begins /etc/hosts, as Docker's does
// (libnetwork/etchosts/etchosts.go).
const loopbackHosts = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

// writeFiles writes the sandbox's /etc.
func (b sandbox) writeFiles() error {
	for _, dir := range []string{"etc", "root"} {
		if err := os.Mkdir(b.path(dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/hostname":    b.Bundle.Hostname + "\n",
		"etc/hosts":       hostsFile(b.Bundle.Hosts),
		"etc/resolv.conf": b.Bundle.Resolve.file(),
		"etc/passwd":      passwdFile(),
		"etc/group":       groupFile(),
	}
	for name, text := range files {
		if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil { //nolint:gosec // every user reads them
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
