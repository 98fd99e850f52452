package control

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/allocator/networkallocator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/engine/model"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for code, is := range map[codes.Code]func(error) bool{
		codes.InvalidArgument:    errdefs.IsInvalidArgument,
		codes.FailedPrecondition: errdefs.IsInvalidArgument,
		codes.OutOfRange:         errdefs.IsInvalidArgument,
		codes.NotFound:           errdefs.IsNotFound,
		codes.AlreadyExists:      errdefs.IsConflict,
		codes.PermissionDenied:   errdefs.IsPermissionDenied,
		codes.Unauthenticated:    errdefs.IsUnauthorized,
		codes.Unimplemented:      errdefs.IsNotImplemented,
		codes.Unavailable:        errdefs.IsUnavailable,
		codes.DeadlineExceeded:   errdefs.IsUnavailable,
		codes.Unknown:            errdefs.IsInternal,
		codes.Internal:           errdefs.IsInternal,
	} {
		err := classify(status.Error(code, "why"))
		if want := fmt.Sprintf("rpc error: code = %s desc = why", code); !is(err) || err.Error() != want {
			t.Errorf("%s became %v", code, err)
		}
	}
	if err := classify(status.Error(codes.Unknown, noQuorum)); !errdefs.IsUnavailable(err) {
		t.Errorf("no quorum became %v", err)
	}
	plain := errors.New("x")
	if got := classify(plain); !errors.Is(got, plain) || got.Error() != "x" || classify(nil) != nil {
		t.Error("other errors must pass as they are")
	}
}

func TestMeshLabels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		labels map[string]string
		want   model.Mesh
		wrong  string // in the error; empty: none
	}{
		{labels: map[string]string{"env": "prod", "weft": "x"}},
		{
			labels: map[string]string{
				"weft.publish.bind": "eth1,192.0.2.1,2001:db8::1", "weft.mesh.source": "masquerade",
				"weft.mesh.algorithm": "source", "weft.mesh.local": "true", "weft.mesh.idle": "1h",
			},
			want: model.Mesh{
				Bind: []string{"eth1", "192.0.2.1", "2001:db8::1"}, Masquerade: true, Algorithm: "source", Local: true, Idle: time.Hour,
			},
		},
		{labels: map[string]string{"weft.mesh.source": "preserve", "weft.mesh.local": "false"}},
		{labels: map[string]string{"weft.mesh.source": "keep"}, wrong: `use "preserve" or "masquerade"`},
		{labels: map[string]string{"weft.mesh.algorithm": "wrr"}, wrong: "use roundrobin, random or source"},
		{labels: map[string]string{"weft.mesh.local": "yes"}, wrong: `use "false" or "true"`},
		{labels: map[string]string{"weft.mesh.idle": "forever"}, wrong: "label weft.mesh.idle=forever: use a time from 1s to 720h, such as 20m"},
		{labels: map[string]string{"weft.mesh.idle": "10ms"}, wrong: "use a time from 1s to 720h"},
		{labels: map[string]string{"weft.publish.bind": "eth1,,eth2"}, wrong: "addresses and interface names"},
		{labels: map[string]string{"weft.mesh.sorce": "masquerade"}, wrong: "there is no such label"},
	} {
		got, err := meshModel(tc.labels)
		switch {
		case tc.wrong == "" && err != nil, tc.wrong != "" && (err == nil || !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tc.wrong)):
			t.Errorf("%v: error %v", tc.labels, err)
		case err == nil:
			if d := cmp.Diff(&tc.want, got); d != "" {
				t.Errorf("%v (-want +got):\n%s", tc.labels, d)
			}
		}
	}
}

func TestCheckNetwork(t *testing.T) {
	t.Parallel()
	taken := []namedPrefix{{"other", netip.MustParsePrefix("10.9.0.0/16")}}
	on, off := true, false
	type cfg = network.IPAMConfig
	for _, tc := range []struct {
		name string
		v6   *bool
		v4   *bool
		cfg  []cfg
		want string // "" is accepted
	}{
		{name: "nothing said"},
		{name: "a subnet", cfg: []cfg{{Subnet: "10.1.0.0/24"}}},
		{name: "everything", cfg: []cfg{{Subnet: "10.1.0.0/24", Gateway: "10.1.0.254", IPRange: "10.1.0.128/25", AuxAddress: map[string]string{"a": "10.1.0.3"}}}},
		{name: "both families", v6: &on, cfg: []cfg{{Subnet: "10.1.0.0/24"}, {Subnet: "fd01::/64"}}},
		{name: "malformed", cfg: []cfg{{Subnet: "10.300.0.0/24"}}, want: "invalid network config:\ninvalid subnet 10.300.0.0/24: invalid CIDR block notation"},
		{name: "host bits", cfg: []cfg{{Subnet: "10.1.0.5/24"}}, want: "invalid subnet 10.1.0.5/24: it should be 10.1.0.0/24"},
		{name: "no subnet", cfg: []cfg{{Gateway: "10.1.0.1"}}, want: "every ip-range or gateway must have a corresponding subnet"},
		{name: "gateway outside", cfg: []cfg{{Subnet: "10.1.0.0/24", Gateway: "10.2.0.1"}}, want: "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/24 doesn't contain this address"},
		{name: "gateway of the other family", cfg: []cfg{{Subnet: "10.1.0.0/24", Gateway: "fd01::1"}}, want: "parent subnet is an IPv4 block"},
		{name: "gateway is the network", cfg: []cfg{{Subnet: "10.1.0.0/24", Gateway: "10.1.0.0"}}, want: "it is the network or broadcast address of 10.1.0.0/24"},
		{name: "range outside", cfg: []cfg{{Subnet: "10.1.0.0/24", IPRange: "10.2.0.0/28"}}, want: "parent subnet 10.1.0.0/24 doesn't contain ip-range"},
		{name: "range too big", cfg: []cfg{{Subnet: "10.1.0.0/24", IPRange: "10.1.0.0/16"}}, want: "CIDR block is bigger than its parent subnet"},
		{name: "aux outside", cfg: []cfg{{Subnet: "10.1.0.0/24", AuxAddress: map[string]string{"a": "10.2.0.5"}}}, want: "invalid auxiliary address a: parent subnet 10.1.0.0/24 doesn't contain this address"},
		{name: "aux is the gateway", cfg: []cfg{{Subnet: "10.1.0.0/24", Gateway: "10.1.0.1", AuxAddress: map[string]string{"a": "10.1.0.1"}}}, want: "10.1.0.1 is the gateway"},
		{name: "aux twice", cfg: []cfg{{Subnet: "10.1.0.0/24", AuxAddress: map[string]string{"a": "10.1.0.3", "b": "10.1.0.3"}}}, want: "10.1.0.3 is auxiliary address a"},
		{name: "own overlap", cfg: []cfg{{Subnet: "10.1.0.0/16"}, {Subnet: "10.1.1.0/24"}}, want: "it overlaps with subnet 10.1.0.0/16 of the same network"},
		{name: "two at once", cfg: []cfg{{Subnet: "x"}, {Subnet: "10.1.0.1/24"}}, want: "invalid subnet x: invalid CIDR block notation\ninvalid subnet 10.1.0.1/24"},
		{name: "overlap", cfg: []cfg{{Subnet: "10.9.9.0/24"}}, want: "subnet 10.9.9.0/24 overlaps with 10.9.0.0/16 of network other"},
		{name: "too small", cfg: []cfg{{Subnet: "10.1.0.0/30"}}, want: "use /29 or larger"},
		{name: "IPv4 off", v4: &off, want: "IPv4 cannot be disabled"},
		{name: "IPv6 only", v6: &on, cfg: []cfg{{Subnet: "fd01::/64"}}, want: "add --subnet with an IPv4 subnet for each IPv6 one"},
		{name: "IPv6 not enabled", cfg: []cfg{{Subnet: "10.1.0.0/24"}, {Subnet: "fd01::/64"}}, want: "add --ipv6"},
		{name: "more IPv6", v6: &on, cfg: []cfg{{Subnet: "10.1.0.0/24"}, {Subnet: "fd01::/64"}, {Subnet: "fd02::/64"}}, want: "has 2 IPv6 subnets and 1 IPv4 ones"},
		{name: "IPv6 without subnet", v6: &on, cfg: []cfg{{Subnet: "10.1.0.0/24"}}, want: "no IPv6 subnet"},
		{name: "IPv6 too small", v6: &on, cfg: []cfg{{Subnet: "10.1.0.0/24"}, {Subnet: "fd01::/112"}}, want: "use /96 or larger"},
		{name: "IPv6 gateway is an endpoint's", v6: &on, cfg: []cfg{{Subnet: "10.1.0.0/24"}, {Subnet: "fd01::/64", Gateway: "fd01::a01:5"}}, want: "is the IPv6 address of the endpoint with IPv4 address 10.1.0.5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			req := network.CreateRequest{Name: "n", CreateOptions: network.CreateOptions{Driver: "overlay", EnableIPv4: tc.v4, EnableIPv6: tc.v6}}
			if tc.cfg != nil {
				req.IPAM = &network.IPAM{Config: tc.cfg}
			}
			err := checkNetwork(req, taken)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			case err != nil && !errdefs.IsInvalidArgument(err) && !errdefs.IsConflict(err):
				t.Errorf("class of %v", err)
			}
		})
	}
}

func newTestAllocator(t *testing.T) networkallocator.NetworkAllocator {
	t.Helper()
	a, err := newProvider().NewAllocator(&networkallocator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func dualNetwork(id string) *api.Network {
	return &api.Network{ID: id, Spec: api.NetworkSpec{
		Annotations: api.Annotations{Name: "net-" + id}, Ipv6Enabled: true,
		DriverConfig: &api.Driver{Name: "overlay"},
		IPAM: &api.IPAMOptions{Driver: &api.Driver{Name: "default"}, Configs: []*api.IPAMConfig{
			{Subnet: "fd01::/64"},
			{Subnet: "10.1.0.0/29", Reserved: map[string]string{"a": "10.1.0.3"}},
		}},
	}}
}

func TestAllocatorWrapper(t *testing.T) {
	t.Parallel()
	a := newTestAllocator(t)
	n := dualNetwork("n1")
	if err := a.Allocate(n); err != nil {
		t.Fatal(err)
	}
	m := networkModel(n)
	if len(m.Subnets) != 2 || m.Subnets[0].Gateway.String() != "10.1.0.1" || m.Subnets[0].VNI == 0 || m.Subnets[1].Gateway.String() != "fd01::1" {
		t.Fatalf("allocated %+v", m.Subnets)
	}
	// The store gives the allocated network back to a new leader.
	b := newTestAllocator(t)
	stored := n.Copy()
	if err := b.Allocate(stored); err != nil || !reflect.DeepEqual(networkModel(stored), m) {
		t.Errorf("allocated again %+v %v", networkModel(stored), err)
	}
	got := map[string]bool{}
	for i := range 4 {
		task := &api.Task{ID: fmt.Sprint(i), Networks: []*api.NetworkAttachment{{Network: stored}}}
		if err := b.AllocateTask(task); err != nil {
			t.Fatal(err)
		}
		got[task.Networks[0].Addresses[0]] = true
	}
	if len(got) != 4 || got["10.1.0.3/29"] {
		t.Errorf("handed out %v", got)
	}
	err := b.AllocateTask(&api.Task{ID: "5", Networks: []*api.NetworkAttachment{{Network: stored}}})
	if err == nil || !strings.Contains(err.Error(), "network net-n1 (10.1.0.0/29, fd01::/64): ") {
		t.Errorf("full network: %v", err)
	}
	attach := &api.Task{
		ID: "6", Networks: []*api.NetworkAttachment{{Network: stored}},
		Spec: api.TaskSpec{Runtime: &api.TaskSpec_Attachment{Attachment: &api.NetworkAttachmentSpec{ContainerID: "c"}}},
	}
	if err := b.AllocateTask(attach); err != nil || attach.Status.State != api.TaskStateRejected || !b.IsTaskAllocated(attach) {
		t.Errorf("attachment %+v %v", attach.Status, err)
	}
	if err := a.Deallocate(n); err != nil {
		t.Fatal(err)
	}
	if err := a.Allocate(dualNetwork("n2")); err != nil {
		t.Errorf("the subnet was not given back: %v", err)
	}
	if err := a.Allocate(dualNetwork("n3")); err == nil {
		t.Error("overlapping subnet was allocated")
	}
}

func TestTaskModelRefusals(t *testing.T) {
	t.Parallel()
	overlay := func(opts map[string]string) []*api.NetworkAttachment {
		return []*api.NetworkAttachment{{Network: &api.Network{ID: "n", DriverState: &api.Driver{Name: "overlay", Options: opts}}}}
	}
	ctr := func(c api.ContainerSpec) api.TaskSpec {
		return api.TaskSpec{Runtime: &api.TaskSpec_Container{Container: &c}}
	}
	for _, tc := range []struct {
		name string
		task api.Task
		want string
	}{
		{"no container", api.Task{}, "only containers are"},
		{"no image", api.Task{Spec: ctr(api.ContainerSpec{})}, "task has no image"},
		{"several", api.Task{Spec: ctr(api.ContainerSpec{Image: "i", Configs: []*api.ConfigReference{{}}, Secrets: []*api.SecretReference{{}}})}, "cannot run tasks with secrets, configs"},
		{"encrypted", api.Task{Spec: ctr(api.ContainerSpec{Image: "i"}), Networks: overlay(map[string]string{"encrypted": "true"})}, "cannot encrypt yet"},
		{"encrypted by presence", api.Task{Spec: ctr(api.ContainerSpec{Image: "i"}), Networks: overlay(map[string]string{"encrypted": ""})}, "cannot encrypt yet"},
		{"not encrypted", api.Task{Spec: ctr(api.ContainerSpec{Image: "i"}), Networks: overlay(map[string]string{"encrypted": "false"})}, ""},
		{"host network", api.Task{Spec: ctr(api.ContainerSpec{Image: "i"}), Networks: []*api.NetworkAttachment{{Network: &api.Network{DriverState: &api.Driver{Name: "host"}}}}}, `has driver "host"`},
		{"bad template", api.Task{Spec: ctr(api.ContainerSpec{Image: "i", Hostname: "{{.Nope}}"})}, "expanding hostname failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := taskModel(&tc.task, nil)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestExitOf(t *testing.T) {
	t.Parallel()
	if err := exitOf(model.ExitStatus{}); err != nil {
		t.Error(err)
	}
	err := exitOf(model.ExitStatus{Code: 137, Err: "killed"})
	var coder interface{ ExitCode() int }
	if !errors.As(err, &coder) || coder.ExitCode() != 137 || err.Error() != "task: non-zero exit (137): killed" {
		t.Errorf("exit %v", err)
	}
}

func TestOnlyAddr(t *testing.T) {
	t.Parallel()
	c := func(link, addr string) candidate { return candidate{link, netip.MustParseAddr(addr)} }
	for _, tc := range []struct {
		name string
		all  []candidate
		want string
		err  string
	}{
		{name: "one", all: []candidate{c("eth0", "10.0.0.1")}, want: "10.0.0.1"},
		{name: "IPv4 first", all: []candidate{c("eth0", "fd00::1"), c("eth0", "10.0.0.1")}, want: "10.0.0.1"},
		{name: "IPv6 only", all: []candidate{c("eth0", "fd00::1")}, want: "fd00::1"},
		{name: "none", err: "could not find the system's IP address"},
		{name: "two on one", all: []candidate{c("eth0", "10.0.0.1"), c("eth0", "10.0.0.2")}, err: "could not choose an IP address to advertise since this system has multiple addresses on interface eth0 (10.0.0.1 and 10.0.0.2)"},
		{name: "two links", all: []candidate{c("eth0", "10.0.0.1"), c("eth1", "10.0.1.1")}, err: "since this system has multiple addresses on different interfaces (10.0.0.1 on eth0 and 10.0.1.1 on eth1)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := onlyAddr(tc.all)
			if tc.err != "" {
				if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || got.String() != tc.want {
				t.Errorf("%s %v", got, err)
			}
		})
	}
}

func TestFree(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		subnet, from string
		taken        []string
		want         int
	}{
		{"10.1.0.0/29", "", nil, 6},
		{"10.1.0.0/29", "", []string{"10.1.0.1", "10.1.0.2", "10.2.0.1"}, 4},
		{"10.1.0.0/24", "10.1.0.128/30", []string{"10.1.0.129", "10.1.0.1"}, 3},
		{"10.1.0.0/24", "10.1.0.252/30", nil, 3},
	} {
		taken := map[netip.Addr]bool{}
		for _, a := range tc.taken {
			taken[netip.MustParseAddr(a)] = true
		}
		from, _ := netip.ParsePrefix(tc.from)
		if got := free(netip.MustParsePrefix(tc.subnet), from, taken); got != tc.want {
			t.Errorf("%s from %q without %v: %d, want %d", tc.subnet, tc.from, tc.taken, got, tc.want)
		}
	}
}
