package container

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/commands/render"
)

// row is a container in a listing.
type row struct {
	ID, Names, Image, Command, CreatedAt, RunningFor, Ports, State, Status string
	Size, Labels, Mounts, LocalVolumes, Networks                           string
	Platform                                                               *platform

	labels map[string]string
}

// platform is what a container's image was made for.
type platform struct{ ocispec.Platform }

func (p platform) String() string { return path.Join(p.OS+p.OSVersion, p.Architecture, p.Variant) }

// Label gives the value of one label, for templates.
func (r row) Label(name string) string { return r.labels[name] }

func list(size bool) render.List[row] {
	l := render.List[row]{
		Headers: render.Headers{
			"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
			"RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE",
			"Labels": "LABELS", "Platform": "PLATFORM", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
		},
		Table:    `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`,
		RawQuiet: `container_id: {{.ID}}`,
		Raw: `container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n` +
			`state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\n` +
			`labels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n`,
	}
	if size {
		l.Table += `\t{{.Size}}`
		l.Raw += `size: {{.Size}}\n`
	}
	return l
}

// showsSize reports whether a template mentions the size.
func showsSize(format string) bool {
	return regexp.MustCompile(`\{\{[^}]*\.Size\b`).MatchString(format)
}

func newRow(c container.Summary, full bool, now time.Time) row {
	created := time.Unix(c.Created, 0)
	const commandWidth = 20 // as docker cuts it
	command := c.Command
	if !full {
		command = render.Ellipsis(command, commandWidth)
	}
	r := row{
		ID:           render.ID(c.ID, full),
		Names:        nameList(c.Names, full),
		Image:        imageName(c, full),
		Command:      strconv.Quote(command),
		CreatedAt:    created.String(),
		RunningFor:   render.Ago(now, created) + " ago",
		Ports:        portList(c.Ports),
		State:        c.State,
		Status:       c.Status,
		Size:         sizeOf(c),
		Labels:       render.Labels(c.Labels),
		Mounts:       mountList(c.Mounts, full),
		LocalVolumes: strconv.Itoa(localVolumes(c.Mounts)),
		Networks:     networkList(c),
		labels:       c.Labels,
	}
	if d := c.ImageManifestDescriptor; d != nil && d.Platform != nil {
		r.Platform = &platform{*d.Platform}
	}
	return r
}

// nameList leaves out the names links gave, unless all are wanted.
func nameList(names []string, full bool) string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		n = strings.TrimPrefix(n, "/")
		if !full && !strings.Contains(n, "/") {
			return n
		}
		out = append(out, n)
	}
	return strings.Join(out, ",")
}

func imageName(c container.Summary, full bool) string {
	switch {
	case c.Image == "":
		return "<no image>"
	case full:
		return c.Image
	case render.ShortID(c.ImageID) == render.ShortID(c.Image):
		return render.ShortID(c.ImageID)
	}
	ref, err := reference.ParseNormalizedNamed(c.Image)
	if err != nil {
		return c.Image
	}
	short := reference.TrimNamed(ref)
	if tagged, ok := ref.(reference.NamedTagged); ok {
		if withTag, err := reference.WithTag(short, tagged.Tag()); err == nil {
			return reference.FamiliarString(withTag)
		}
	}
	return reference.FamiliarString(short)
}

func sizeOf(c container.Summary) string {
	const digits = 3
	text := units.HumanSizeWithPrecision(float64(c.SizeRw), digits)
	if c.SizeRootFs > 0 {
		text += fmt.Sprintf(" (virtual %s)", units.HumanSizeWithPrecision(float64(c.SizeRootFs), digits))
	}
	return text
}

func mountList(mounts []container.MountPoint, full bool) string {
	const width = 15 // as docker cuts it
	out := make([]string, 0, len(mounts))
	for _, m := range mounts {
		name := cmp.Or(m.Name, m.Source)
		if !full {
			name = render.Ellipsis(name, width)
		}
		out = append(out, name)
	}
	return strings.Join(out, ",")
}

func localVolumes(mounts []container.MountPoint) int {
	n := 0
	for _, m := range mounts {
		if m.Driver == "local" {
			n++
		}
	}
	return n
}

func networkList(c container.Summary) string {
	if c.NetworkSettings == nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(c.NetworkSettings.Networks)), ",")
}

// portRun is a run of ports that are published alike or not at all.
type portRun struct {
	ip, protocol string
	first, last  uint16
}

func (r portRun) String() string {
	text := strconv.Itoa(int(r.first))
	if r.last != r.first {
		text = fmt.Sprintf("%d-%d", r.first, r.last)
	}
	if r.ip != "" {
		text = net.JoinHostPort(r.ip, text) + "->" + text
	}
	return text + "/" + r.protocol
}

// portList gives the ports by number. Neighbors that are published at their
// own number, or not published, are joined into runs; a run stays open while
// ports of other runs come between. Ports published at another number follow.
func portList(ports []container.Port) string {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b container.Port) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.IP, b.IP),
			cmp.Compare(a.PublicPort, b.PublicPort), cmp.Compare(a.Type, b.Type))
	})
	var closed, open []portRun
	var mapped []string
	for _, p := range ports {
		if p.IP != "" && p.PublicPort != p.PrivatePort {
			mapped = append(mapped, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.IP, strconv.Itoa(int(p.PublicPort))), p.PrivatePort, p.Type))
			continue
		}
		at := slices.IndexFunc(open, func(r portRun) bool { return r.ip == p.IP && r.protocol == p.Type })
		switch {
		case at < 0:
			open = append(open, portRun{p.IP, p.Type, p.PrivatePort, p.PrivatePort})
		case open[at].last+1 == p.PrivatePort:
			open[at].last = p.PrivatePort
		default:
			closed = append(closed, open[at])
			open[at] = portRun{p.IP, p.Type, p.PrivatePort, p.PrivatePort}
		}
	}
	var texts []string
	for _, r := range append(closed, open...) {
		texts = append(texts, r.String())
	}
	return strings.Join(append(texts, mapped...), ", ")
}
