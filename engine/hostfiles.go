package engine

import (
	"net/netip"
	"os"
	"strings"

	"weft/engine/runtime"
)

// The host's own files, which containers' are made after.
const (
	hostsPath  = "/etc/hosts"
	resolvPath = "/etc/resolv.conf"
)

// readResolv gives what the host's resolver is told (resolv.conf(5)). A file
// that can't be read says nothing.
func readResolv() runtime.Resolve {
	text, err := os.ReadFile(resolvPath)
	if err != nil {
		return runtime.Resolve{}
	}
	return parseResolv(string(text))
}

// parseResolv reads the lines resolvers agree on; of several search lines the
// last counts.
func parseResolv(text string) runtime.Resolve {
	var out runtime.Resolve
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil {
				out.Servers = append(out.Servers, a)
			}
		case "search", "domain":
			out.Search = fields[1:]
		case "options":
			out.Options = append(out.Options, fields[1:]...)
		}
	}
	return out
}

// readHosts gives the host's own entries but for its loopback addresses, which
// every container has by itself.
func readHosts() []runtime.HostEntry {
	text, err := os.ReadFile(hostsPath)
	if err != nil {
		return nil
	}
	return parseHosts(string(text))
}

func parseHosts(text string) []runtime.HostEntry {
	var out []runtime.HostEntry
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		a, err := netip.ParseAddr(fields[0])
		if err != nil || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a.Is6() && (a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast()) {
			continue
		}
		out = append(out, runtime.HostEntry{Addr: a, Names: fields[1:]})
	}
	return out
}
