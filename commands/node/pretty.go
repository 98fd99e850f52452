package node

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/go-units"

	"weft/commands/render"
)

// writePretty prints a node as `node inspect --pretty` does, with Docker's
// spacing to the tab.
func writePretty(b *strings.Builder, n swarm.Node) {
	fmt.Fprintf(b, "ID:\t\t\t%s\n", n.ID)
	if n.Spec.Name != "" {
		fmt.Fprintf(b, "Name:\t\t\t%s\n", n.Spec.Name)
	}
	writeLabels(b, "Labels", n.Spec.Labels)
	fmt.Fprintf(b, "Hostname:              \t%s\n", n.Description.Hostname)
	fmt.Fprintf(b, "Joined at:             \t%s\n", render.Capital(n.CreatedAt.String()))
	writeState(b, n)
	fmt.Fprintf(b, "Platform:\n Operating System:\t%s\n Architecture:\t\t%s\n", n.Description.Platform.OS, n.Description.Platform.Architecture)
	writeResources(b, n.Description.Resources)
	writePlugins(b, n.Description.Engine.Plugins)
	fmt.Fprintf(b, "Engine Version:\t\t%s\n", n.Description.Engine.EngineVersion)
	writeLabels(b, "Engine Labels", n.Description.Engine.Labels)
	if tls := n.Description.TLSInfo; !reflect.DeepEqual(tls, swarm.TLSInfo{}) {
		fmt.Fprintf(b, "TLS Info:\n TrustRoot:\n%s\n Issuer Subject:\t%s\n Issuer Public Key:\t%s\n", tls.TrustRoot,
			base64.StdEncoding.EncodeToString(tls.CertIssuerSubject), base64.StdEncoding.EncodeToString(tls.CertIssuerPublicKey))
	}
}

func writeState(b *strings.Builder, n swarm.Node) {
	fmt.Fprintf(b, "Status:\n State:\t\t\t%s\n", render.Capital(string(n.Status.State)))
	if n.Status.Message != "" {
		fmt.Fprintf(b, " Message:              \t%s\n", render.Capital(n.Status.Message))
	}
	fmt.Fprintf(b, " Availability:         \t%s\n", render.Capital(string(n.Spec.Availability)))
	if n.Status.Addr != "" {
		fmt.Fprintf(b, " Address:\t\t%s\n", n.Status.Addr)
	}
	if n.ManagerStatus == nil {
		return
	}
	leader := "No"
	if n.ManagerStatus.Leader {
		leader = "Yes"
	}
	fmt.Fprintf(b, "Manager Status:\n Address:\t\t%s\n Raft Status:\t\t%s\n Leader:\t\t%s\n",
		n.ManagerStatus.Addr, render.Capital(string(n.ManagerStatus.Reachability)), leader)
}

func writeResources(b *strings.Builder, r swarm.Resources) {
	const nano = 1e9
	memory := ""
	if r.MemoryBytes != 0 {
		memory = units.BytesSize(float64(r.MemoryBytes))
	}
	fmt.Fprintf(b, "Resources:\n CPUs:\t\t\t%d\n Memory:\t\t%s\n", r.NanoCPUs/nano, memory)
}

func writePlugins(b *strings.Builder, plugins []swarm.PluginDescription) {
	if len(plugins) == 0 {
		return
	}
	names := map[string][]string{}
	for _, p := range plugins {
		names[p.Type] = append(names[p.Type], p.Name)
	}
	b.WriteString("Plugins:\n")
	for _, kind := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(b, " %s:\t\t%s\n", kind, strings.Join(names[kind], ", "))
	}
}

func writeLabels(b *strings.Builder, title string, labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	b.WriteString(title + ":\n")
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(" - " + key)
		if labels[key] != "" {
			b.WriteString("=" + labels[key])
		}
		b.WriteString("\n")
	}
}
