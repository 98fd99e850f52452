package dockerapi_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// swarmed is a bed whose engine is a swarm's only manager, with the attachable
// overlays red and blue, and green, which is not attachable.
func swarmed(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	if _, err := b.docker("").SwarmInit(t.Context(), swarm.InitRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"red", "blue"} {
		b.AddNetwork(network.Inspect{Name: name, Driver: "overlay", Scope: "swarm", Attachable: true, Labels: map[string]string{"color": name}})
	}
	b.AddNetwork(network.Inspect{Name: "green", Driver: "overlay", Scope: "swarm"})
	return b
}

func names(nets []network.Inspect) string {
	var out []string
	for _, n := range nets {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestNetworkList(t *testing.T) {
	b := swarmed(t)
	b.run(t, "web", "red")
	ids := map[string]string{}
	for _, v := range apiVersions {
		all, err := b.docker(v).NetworkList(t.Context(), network.ListOptions{})
		if err != nil || names(all) != "blue green ingress none red" {
			t.Errorf("%s: %s, %v", v, names(all), err)
		}
		for _, n := range all {
			ids[n.Name] = n.ID
			if n.Name == "red" && len(n.Containers) != map[bool]int{true: 1}[v < "1.28"] {
				t.Errorf("%s: red has %d containers in a list", v, len(n.Containers))
			}
		}
	}
	for _, c := range []struct{ filter, want string }{
		{"driver=overlay", "blue green ingress red"},
		{"driver=over", ""},
		{"driver=null driver=overlay", "blue green ingress none red"},
		{"scope=local", "none"},
		{"type=builtin", "none"},
		{"type=custom", "blue green ingress red"},
		{"type=custom type=builtin", "blue green ingress none red"},
		{"name=re", "green ingress red"},
		{"name=^re", "red"},
		{"label=color", "blue red"},
		{"label=color=red", "red"},
		{"label=color=red label=color=blue", ""},
		{"dangling=true", "blue green ingress"},
		{"dangling=0", "none red"},
		{"dangling=true scope=local", ""},
		{"id=" + ids["red"], "red"},
		{"id=" + ids["red"][:9] + " name=blue", ""},
	} {
		args := filters.NewArgs()
		for kv := range strings.FieldsSeq(c.filter) {
			k, v, _ := strings.Cut(kv, "=")
			args.Add(k, v)
		}
		got, err := b.docker("").NetworkList(t.Context(), network.ListOptions{Filters: args})
		if err != nil || names(got) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.filter, names(got), err, c.want)
		}
	}
	for filter, want := range map[string]string{
		`{"nosuch":["x"]}`:              "invalid filter 'nosuch'",
		`{"type":["weird"]}`:            "invalid filter: 'type'='weird'",
		`{"dangling":["x"]}`:            `invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`,
		`{"dangling":["true","false"]}`: `got more than one value for filter key "dangling"`,
	} {
		b.refused("GET", "/networks?filters="+url.QueryEscape(filter), "", 400, want)
	}
	if status, _, _ := b.do("GET", "/networks?filters=%7Bbad", ""); status != 400 {
		t.Errorf("bad filter: %d", status)
	}
}

func TestNetworkInspect(t *testing.T) {
	b := swarmed(t)
	id := b.run(t, "web", "red")
	c := b.docker("")
	red, err := c.NetworkInspect(t.Context(), "red", network.InspectOptions{Verbose: true})
	if err != nil || red.Containers[id].Name != "web" || len(red.Services) != 0 {
		t.Fatalf("%+v, %v", red, err)
	}
	for _, ref := range []string{red.ID, red.ID[:10]} {
		if got, err := c.NetworkInspect(t.Context(), ref, network.InspectOptions{}); err != nil || got.Name != "red" {
			t.Errorf("%s: %s, %v", ref, got.Name, err)
		}
	}
	if _, err := c.NetworkInspect(t.Context(), "red", network.InspectOptions{Scope: "local"}); err == nil {
		t.Error("found in the wrong scope")
	}
	twin := b.AddNetwork(network.Inspect{Name: "red", Driver: "overlay", Scope: "swarm"})
	named := b.AddNetwork(network.Inspect{Name: red.ID[:10], Driver: "overlay", Scope: "swarm"})
	if got, err := c.NetworkInspect(t.Context(), red.ID[:10], network.InspectOptions{}); err != nil || got.ID != named {
		t.Errorf("a name goes before the beginning of an ID: %s, %v", got.ID, err)
	}
	if got, err := c.NetworkInspect(t.Context(), twin, network.InspectOptions{}); err != nil || got.ID != twin {
		t.Errorf("by ID: %s, %v", got.ID, err)
	}
	b.refused("GET", "/networks/red", "", 400, "2 matches found based on name: network red is ambiguous")
	b.refused("DELETE", "/networks/red", "", 400, "network red is ambiguous (2 matches found based on name)")
	b.refused("GET", "/networks/nope", "", 404, "network nope not found")
	b.refused("GET", "/networks/a/b/c", "", 404, "network a/b/c not found")
	b.refused("DELETE", "/v1.41/networks/nope", "", 404, "network nope not found")
	b.refused("GET", "/networks/red?verbose=maybe", "", 400, `invalid value for verbose: maybe: strconv.ParseBool: parsing "maybe": invalid syntax`)
}

func TestNetworkPrefixIsAmbiguous(t *testing.T) {
	b := swarmed(t)
	seen := map[byte]bool{}
	for {
		id := b.AddNetwork(network.Inspect{Name: "n", Driver: "overlay", Scope: "swarm"})
		if seen[id[0]] {
			status, _, body := b.do("GET", "/networks/"+id[:1], "")
			if status != 400 || !strings.Contains(body, "matches found based on ID prefix: network "+id[:1]+" is ambiguous") {
				t.Errorf("%d %s", status, body)
			}
			return
		}
		seen[id[0]] = true
	}
}

func TestNetworkCreateAndRemove(t *testing.T) {
	b := newBed(t)
	outside := `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`
	b.refused("POST", "/networks/create", `{"Name":"a","Driver":"overlay"}`, 503, outside)
	b.refused("POST", "/networks/create", `{"Name":"a","Driver":"nosuchdriver"}`, 404, `plugin "nosuchdriver" not found`)
	b.refused("DELETE", "/networks/none", "", 403, "none is a pre-defined network and cannot be removed")
	b.ok("POST", "/swarm/init", `{}`)
	status, _, body := b.do("POST", "/networks/create", `{"Name":"a","Driver":"overlay","EnableIPv4":false,"CheckDuplicate":true}`)
	if created := parse[network.CreateResponse](t, body); status != 201 || created.ID == "" {
		t.Errorf("%d %s", status, body)
	}
	b.refused("POST", "/networks/create", `{"Name":"a","Driver":"overlay"}`, 409, "network with name a already exists")
	if status, _, body := b.do("DELETE", "/networks/a", ""); status != 204 || body != "" {
		t.Errorf("%d %s", status, body)
	}
}

func TestIngressNetwork(t *testing.T) {
	b := swarmed(t)
	c := b.docker("")
	old, err := c.NetworkInspect(t.Context(), "ingress", network.InspectOptions{})
	if err != nil || !old.Ingress || old.Scope != "swarm" || old.Driver != "overlay" || len(old.Peers) != 1 || old.Peers[0].IP != "127.0.0.1" {
		t.Fatalf("%+v, %v", old, err)
	}
	spec := serviceSpec("web", 1)
	spec.EndpointSpec = &swarm.EndpointSpec{Ports: []swarm.PortConfig{{TargetPort: 80, PublishedPort: 8080}}}
	web, err := c.ServiceCreate(t.Context(), spec, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.refused("DELETE", "/networks/ingress", "", 400,
		"rpc error: code = FailedPrecondition desc = ingress network cannot be removed because service "+web.ID+" depends on it")
	if err := c.ServiceRemove(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	b.refused("POST", "/networks/create", `{"Name":"my","Driver":"overlay","Ingress":true}`, 409,
		"rpc error: code = AlreadyExists desc = ingress network ("+old.ID+") is already present")
	if err := c.NetworkRemove(t.Context(), "ingress"); err != nil {
		t.Fatal(err)
	}
	b.refused("DELETE", "/networks/ingress", "", 404, "network ingress not found")
	b.refused("POST", "/networks/create", `{"Name":"my","Driver":"overlay","Ingress":true,"Attachable":true}`, 400,
		"rpc error: code = InvalidArgument desc = ingress network cannot be attachable")
	made, err := c.NetworkCreate(t.Context(), "my", network.CreateOptions{
		Driver: "overlay", Ingress: true, Options: map[string]string{"com.docker.network.driver.mtu": "1200"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "10.11.0.0/16", Gateway: "10.11.0.2"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.NetworkInspect(t.Context(), "my", network.InspectOptions{})
	if err != nil || now.ID != made.ID || !now.Ingress || now.IPAM.Config[0].Gateway != "10.11.0.2" || len(now.Peers) != 1 {
		t.Errorf("%+v, %v", now, err)
	}
}

func TestNetworkConnect(t *testing.T) {
	b := swarmed(t)
	id := b.run(t, "web", "red")
	c := b.docker("")
	err := c.NetworkConnect(t.Context(), "blue", "web", &network.EndpointSettings{
		Aliases: []string{"www"}, IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.0.2.77"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ContainerInspect(t.Context(), "web")
	if blue := got.NetworkSettings.Networks["blue"]; err != nil || blue.IPAddress != "10.0.2.77" || blue.Aliases[0] != "www" || blue.IPAMConfig.IPv4Address != "10.0.2.77" {
		t.Errorf("%+v, %v", blue, err)
	}
	b.refused("POST", "/networks/blue/connect", `{"Container":"web"}`, 403, "endpoint with name web already exists in network blue")
	b.refused("POST", "/networks/nope/connect", `{"Container":"web"}`, 404, "network nope not found")
	b.refused("POST", "/networks/blue/connect", `{"Container":"nope"}`, 404, "No such container: nope")
	b.refused("POST", "/networks/blue/connect", `{"Container":"web","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.0.2.300"}}}`, 400,
		"invalid endpoint settings:\ninvalid IPv4 address: 10.0.2.300")
	b.refused("POST", "/networks/blue/connect", `{"Container":"web","EndpointConfig":{"IPAMConfig":{"IPv6Address":"10.0.2.3"}}}`, 400,
		"invalid endpoint settings:\ninvalid IPv6 address: 10.0.2.3")
	b.refused("POST", "/networks/blue/connect", `{"Container":"web","EndpointConfig":{"MacAddress":"02:42:ac:11:00:02","Links":["a:b"]}}`, 501,
		"this engine cannot connect to network blue with links (--link): containers of one network find each other by name; "+
			"a MAC address (--mac-address): it follows from the IPv4 address; leave out what is named here, or use a Docker engine")
	if err := c.NetworkDisconnect(t.Context(), "blue", "web", false); err != nil {
		t.Error(err)
	}
	b.refused("POST", "/networks/blue/disconnect", `{"Container":"web"}`, 403, "container "+id+" is not connected to network blue")
}

func TestNetworkPrune(t *testing.T) {
	b := swarmed(t)
	b.run(t, "web", "red")
	prune := func(f string) string {
		r := parse[network.PruneReport](t, b.ok("POST", "/networks/prune?filters="+url.QueryEscape(f), ""))
		slices.Sort(r.NetworksDeleted)
		return strings.Join(r.NetworksDeleted, " ")
	}
	for _, c := range []struct{ filters, want string }{
		{`{"until":["1h"]}`, ""},
		{`{"label":["color=green"]}`, ""},
		{`{"label!":["color"]}`, "green"},
		{``, "blue"},
		{``, ""},
	} {
		if got := prune(c.filters); got != c.want {
			t.Errorf("%s: %q, want %q", c.filters, got, c.want)
		}
	}
	b.refused("POST", "/networks/prune?filters="+url.QueryEscape(`{"driver":["x"]}`), "", 400, "invalid filter 'driver'")
	b.refused("POST", "/networks/prune?filters="+url.QueryEscape(`{"until":["1h","2h"]}`), "", 400, "more than one until filter specified")
	if status, _, body := b.do("POST", "/networks/prune?filters="+url.QueryEscape(`{"until":["nonsense"]}`), ""); status != 400 {
		t.Errorf("%d %s", status, body)
	}
}

func TestNetworkJSONIsDockers(t *testing.T) {
	b := swarmed(t)
	got := parse[object](t, b.ok("GET", "/networks/red", ""))
	for _, k := range []string{
		"Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
		"ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels",
	} {
		if _, ok := got[k]; !ok {
			t.Errorf("no %s in %v", k, got)
		}
	}
	if b.ok("GET", "/networks?filters="+url.QueryEscape(`{"name":["zzz"]}`), "") != "[]" {
		t.Error("an empty list is not []")
	}
}

// run makes a container that runs until it is ended, and gives its ID.
func (b *bed) run(t *testing.T, name, net string, args ...string) string {
	t.Helper()
	c := b.docker("")
	made, err := c.ContainerCreate(t.Context(), &container.Config{Image: "weft/probe", Cmd: args},
		&container.HostConfig{NetworkMode: container.NetworkMode(net)}, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// body renders a request.
func body(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
