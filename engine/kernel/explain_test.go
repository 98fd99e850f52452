package kernel

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestMissingThingsNameTheirFix(t *testing.T) {
	const all = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	for name, tt := range map[string]struct {
		err   error
		class func(error) bool
		want  string
	}{
		"no root":          {explainPrivileges(0), errdefs.IsPermissionDenied, "weft engine needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN): run it with sudo"},
		"half of it":       {explainPrivileges(1 << unix.CAP_NET_ADMIN), errdefs.IsPermissionDenied, "run it with sudo"},
		"no VXLAN":         {explainLink("vxlan", "CONFIG_VXLAN", unix.EOPNOTSUPP), errdefs.IsNotImplemented, "this kernel has no VXLAN: load the vxlan module (modprobe vxlan) or use a kernel with CONFIG_VXLAN"},
		"no bridge":        {explainLink("bridge", "CONFIG_BRIDGE", unix.EOPNOTSUPP), errdefs.IsNotImplemented, "modprobe bridge"},
		"refused":          {explainLink("veth", "CONFIG_VETH", unix.EPERM), errdefs.IsNotImplemented, "refuses a veth device"},
		"no nftables":      {explainNFTables(unix.EINVAL), errdefs.IsNotImplemented, "modprobe nf_tables"},
		"no ESP":           {explainESP(unix.EPROTONOSUPPORT), errdefs.IsNotImplemented, "modprobe esp4"},
		"no namespaces":    {explainNamespaces(unix.EPERM), errdefs.IsNotImplemented, "CONFIG_NET_NS"},
		"namespaces used":  {explainNamespaces(unix.ENOSPC), errdefs.IsUnavailable, "user.max_net_namespaces"},
		"privileges first": {Capabilities{Privileges: explainPrivileges(0), VXLAN: unix.EPERM}.Overlay(), errdefs.IsPermissionDenied, "needs root"},
	} {
		if tt.err == nil || !tt.class(tt.err) || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
	for name, err := range map[string]error{
		"privileges": explainPrivileges(all | 1), "link": explainLink("veth", "", nil), "nftables": explainNFTables(nil),
		"ESP": explainESP(nil), "namespaces": explainNamespaces(nil), "overlay": Capabilities{ESP: unix.EPERM}.Overlay(),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChunksStayInBounds(t *testing.T) {
	var b Batch
	for i := range 1000 {
		b.Begin(unix.RTM_NEWNEIGH, 0, make([]byte, 12))
		b.Attr(1, make([]byte, i%200))
	}
	covered := 0
	for from := 0; from < b.Len(); {
		to := b.chunk(from)
		if n := b.end(to-1) - b.starts[from]; n > chunkBytes || to-from > chunkMessages {
			t.Errorf("chunk %d to %d has %d bytes", from, to, n)
		}
		covered += to - from
		from = to
	}
	if covered != b.Len() {
		t.Errorf("%d of %d messages", covered, b.Len())
	}
	var large Batch
	large.Begin(1, 0, make([]byte, 2*chunkBytes))
	if large.chunk(0) != 1 {
		t.Error("a message larger than a chunk is not sent")
	}
}

func TestAnswersThatAreCutShort(t *testing.T) {
	for _, data := range [][]byte{nil, {1}, make([]byte, 16), {255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if got := parseAnswers(data); len(got) != 0 {
			t.Errorf("parseAnswers(%v) is %v", data, got)
		}
	}
}
