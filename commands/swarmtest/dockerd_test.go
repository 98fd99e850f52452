package swarmtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/commands/swarmtest"
	"weft/engine/dockerdtest"
)

// TestAnswersAreDockerds makes the same requests to a dockerd with a swarm of
// its own and to a Swarm, and compares the answers: status, text, and JSON but
// for IDs, times, versions and addresses in a subnet.
//
// Docker's routing mesh can't work on a kernel without IPVS; tasks that publish
// through it start all the same, and what the API says of them is compared. Of
// /info, /version and a node's description only what a Swarm has is compared:
// the rest is about the machine.
func TestAnswersAreDockerds(t *testing.T) {
	dockerdtest.Require(t)
	bed := dockerdtest.Start(t, dockerdtest.Options{})
	host := bed.Hosts[0]
	status, text, err := ask(t.Context(), host.Socket, "POST", "/v1.41/swarm/init",
		fmt.Sprintf(`{"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":%q}`, host.Addr))
	if err != nil || status != 200 {
		t.Fatalf("swarm init: %d %s %v", status, text, err)
	}
	// Slow stops, as of containers that don't listen to signals.
	pace := swarmtest.DefaultPace()
	pace.Stop, pace.Leave = 12, 1
	fake := swarmtest.New(t, swarmtest.WithNodes(1, 0), swarmtest.WithPace(pace))
	for _, s := range script() {
		theirs := s.run(t, host.Socket, 50*time.Millisecond)
		ours := s.run(t, fake.Socket(), 0)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s %s: - dockerd, + swarmtest\n%s", s.request, s.body, diff)
		}
	}
	const premature = `premature removal: ingress network "ingress2"`
	if v := fake.Violations(); len(v) != 2 || !strings.HasPrefix(v[0], premature) || !strings.HasPrefix(v[1], "premature creation: ") {
		t.Errorf("violations: %v", v)
	}
}

// step is a request of the script.
type step struct {
	request string // "{web}" in it is the version of the service web, "{node}" stands for an update of the node
	body    string
	only    []string            // of an object, compare no more than these fields
	until   func(a answer) bool // ask again until this holds
	untyped bool                // without saying that the body is JSON
}

type answer struct {
	Status int
	Body   any
}

func (s step) run(t *testing.T, socket string, pause time.Duration) answer {
	t.Helper()
	method, path, _ := strings.Cut(s.request, " ")
	path = regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(path, func(name string) string {
		if name == "{node}" {
			return nodeUpdate(t, socket)
		}
		return version(t, socket, strings.Trim(name, "{}"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		status, text, err := askTyped(ctx, socket, method, path, s.body, !s.untyped)
		if err != nil {
			t.Fatalf("%s at %s: %v", s.request, socket, err)
		}
		a := answer{Status: status, Body: text}
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			a.Body = v
		}
		if s.until == nil || s.until(a) {
			return answer{status, normal("", s.pick(a.Body))}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s at %s: still %d %s", s.request, socket, status, text)
		case <-time.After(pause):
		}
	}
}

func (s step) pick(v any) any {
	o, is := v.(map[string]any)
	if !is || s.only == nil {
		return v
	}
	picked := map[string]any{}
	for _, key := range s.only {
		picked[key] = o[key]
	}
	return picked
}

func version(t *testing.T, socket, name string) string {
	t.Helper()
	status, text, err := ask(t.Context(), socket, "GET", "/v1.41/services/"+name, "")
	if err != nil || status != 200 {
		t.Fatalf("service %s: %d %s %v", name, status, text, err)
	}
	var v struct{ Version struct{ Index uint64 } }
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(v.Version.Index, 10)
}

// nodeUpdate gives the path of an update of the one node, behind "/nodes/".
func nodeUpdate(t *testing.T, socket string) string {
	t.Helper()
	status, text, err := ask(t.Context(), socket, "GET", "/v1.41/nodes", "")
	var list []struct {
		ID      string
		Version struct{ Index uint64 }
	}
	if err != nil || status != 200 || json.Unmarshal([]byte(text), &list) != nil || len(list) != 1 {
		t.Fatalf("nodes: %d %s %v", status, text, err)
	}
	return fmt.Sprintf("%s/update?version=%d", list[0].ID, list[0].Version.Index)
}

// anything is what two machines need not agree on, by key.
func anything() []string {
	return []string{
		"ID", "Id", "NodeID", "ServiceID", "NetworkID", "EndpointID", "ContainerID", "Target", "CreatedAt", "UpdatedAt", "Created",
		"Timestamp", "StartedAt", "CompletedAt", "Index", "PID", "MacAddress", "IP", "Hostname", "NodeAddr", "TLSInfo", "JoinTokens",
		"Resources of a node", "Plugins", "com.docker.network.driver.overlay.vxlanid_list",
	}
}

// normal puts a placeholder in the place of what differs from one machine to
// the next, and lists in order.
func normal(key string, v any) any {
	if slices.Contains(anything(), key) && v != nil && v != "" {
		return "<" + key + ">"
	}
	switch v := v.(type) {
	case string:
		return normalText(key, v)
	case []any:
		list := []any{}
		for _, item := range v {
			list = append(list, normal("", item))
		}
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return list
	case map[string]any:
		o := map[string]any{}
		for name, value := range v {
			under := name
			if _, node := v["Engine"]; node && name == "Resources" {
				under = "Resources of a node"
			}
			value = normal(under, value)
			if key == "Containers" {
				name = fmt.Sprint(normalText("", name), " ", value.(map[string]any)["Name"])
			}
			o[name] = value
		}
		return o
	case float64:
		if key == "PublishedPort" && v >= 32768 { // chosen by a node
			return "<port>"
		}
		return v
	default:
		return v
	}
}

func normalText(key, text string) string {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return "in " + prefix.Masked().String()
	}
	if _, err := netip.ParseAddrPort(text); err == nil || key == "Addr" {
		return "<address>"
	}
	if regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(text) {
		return "<peer>"
	}
	text = strings.ReplaceAll(text, "gateway_ingress_sbox", "gateway_ingress-sbox") // Docker names it so now and so then
	return regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-z]{25})\b`).ReplaceAllString(text, "<id>")
}

func query(key, value string) string {
	return "?filters=" + url.QueryEscape(fmt.Sprintf(`{%q:[%q]}`, key, value))
}

// tasks holds when a service's tasks are in the states, in any order.
func tasks(states ...string) func(answer) bool {
	return func(a answer) bool {
		var got []string
		list, _ := a.Body.([]any)
		for _, item := range list {
			t := item.(map[string]any)
			got = append(got, fmt.Sprint(t["Status"].(map[string]any)["State"]))
		}
		slices.Sort(got)
		return slices.Equal(got, states)
	}
}

func updated(a answer) bool {
	o, _ := a.Body.(map[string]any)
	u, _ := o["UpdateStatus"].(map[string]any)
	return u["State"] == "completed"
}

// has holds when an answer's JSON has a text in it.
func has(text string) func(answer) bool {
	return func(a answer) bool {
		data, err := json.Marshal(a.Body)
		return err == nil && strings.Contains(string(data), text)
	}
}

func status(want int) func(answer) bool { return func(a answer) bool { return a.Status == want } }

// spec gives a service spec of two tasks that stop fast.
func spec(name, more string) string {
	return `{"Name":"` + name + `","Labels":{"a":"b"},"TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest","Args":["sleep","1000"],` +
		`"StopGracePeriod":500000000}},"Mode":{"Replicated":{"Replicas":2}},"UpdateConfig":{"Parallelism":2,"Monitor":100000000}` + more + `}`
}

const (
	webPort = `,"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080},{"Protocol":"udp","TargetPort":53,"PublishMode":"host"}]}`
	noPort  = `,"EndpointSpec":{"Ports":[{"Protocol":"udp","TargetPort":53,"PublishMode":"host"}]}`
)

func script() []step {
	return slices.Concat(readScript(), networkScript(), serviceScript(), configScript(), ingressScript(), trapScript())
}

// readScript looks at a new swarm, and for what there isn't.
func readScript() []step {
	list := []step{
		{request: "GET /_ping"},
		{request: "GET /v1.41/version", only: []string{"ApiVersion", "MinAPIVersion", "Version"}},
		{request: "GET /v1.41/info", only: []string{"Swarm", "ServerVersion", "OSType"}},
		{request: "GET /v1.41/swarm"},
		{request: "GET /v1.41/nodes"},
		{request: "GET /v1.41/networks/ingress", until: has(`"ingress-sbox":{`)},
		{request: "GET /v1.41/networks/docker_gwbridge", until: has(`"ingress-sbox":{`)},
		{request: "GET /v1.41/networks"},
		{request: "GET /v1.99/networks"},
		{request: "GET /v1.41/nope"},
	}
	for _, kind := range []string{"networks", "services", "tasks", "configs", "nodes"} {
		list = append(list, step{request: "GET /v1.41/" + kind + "/nope"}, step{request: "DELETE /v1.41/" + kind + "/nope"},
			step{request: "GET /v1.41/" + kind + query("bogus", "x")})
	}
	return slices.DeleteFunc(list, func(s step) bool { return s.request == "DELETE /v1.41/nodes/nope" }) // nodes can't be removed here
}

func networkScript() []step {
	create := func(body string) step { return step{request: "POST /v1.41/networks/create", body: body} }
	return []step{
		create(`{"Name":"ing2","Driver":"overlay","Ingress":true}`),
		create(`{"Name":"ingress","Driver":"overlay","Ingress":true}`),
		create(`{"Name":"ing2","Driver":"overlay","Ingress":true,"Attachable":true}`),
		create(`{"Name":"ing2","Driver":"bridge","Ingress":true}`),
		create(`{"Name":"ov","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.55.0.0/24"}]},` +
			`"Options":{"com.docker.network.driver.mtu":"1400"},"Labels":{"q":"r"}}`),
		create(`{"Name":"ov","Driver":"overlay"}`),
		create(`{"Name":"bad","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.60.0.0/24","Gateway":"10.61.0.1"}]}}`),
		create(`{"Name":"bad","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.60.0.0/24","IPRange":"10.61.0.0/28"}]}}`),
		create(`{"Name":"bad","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.60.0.0/24","Gateway":"nonsense"}]}}`),
		create(`{"Name":"bad","Driver":"overlay","IPAM":{"Config":[{"Subnet":"nonsense"}]}}`),
		create(`{"Name":"bad","Driver":"overlay","Labels":{"com.docker.swarm.predefined":"true"}}`),
		create(`{"Name":"","Driver":"overlay"}`),
		create(`garbage`),
		create(`{"Name":"host"}`),
		{request: "POST /v1.41/networks/create", body: `{"Name":"x"}`, untyped: true},
		{request: "GET /v1.41/networks/ov", until: has("10.55.0.1")},
		{request: "GET /v1.41/networks" + query("name", "ov")},
		{request: "GET /v1.41/networks" + query("scope", "swarm"), until: has(`"10.55.0.1"`)},
		{request: "DELETE /v1.41/networks/bridge"},
		{request: "DELETE /v1.41/networks/docker_gwbridge"},
		create(`{"Name":"br","Driver":"bridge","IPAM":{"Config":[{"Subnet":"10.200.0.0/24","Gateway":"10.200.0.1"}]}}`),
		create(`{"Name":"br","Driver":"bridge","CheckDuplicate":true}`),
		{request: "GET /v1.41/networks/br"},
		{request: "DELETE /v1.41/networks/br"},
		create(`{"Name":"overlap","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.55.0.0/16"}]}}`),
		{request: "GET /v1.41/networks/overlap"},
		{request: "DELETE /v1.41/networks/overlap"},
	}
}

func serviceScript() []step {
	create := func(body string) step { return step{request: "POST /v1.41/services/create", body: body} }
	image := `"TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest"}}`
	update := func(query, body string) step {
		return step{request: "POST /v1.41/services/web/update" + query, body: body}
	}
	return []step{
		create(spec("web", webPort)),
		{request: "GET /v1.41/tasks" + query("service", "web"), until: tasks("running", "running")},
		{request: "GET /v1.41/services/web"},
		{request: "GET /v1.41/services/web?insertDefaults=true"},
		{request: "GET /v1.41/services?status=true"},
		{request: "GET /v1.41/services" + query("name", "we")},
		{request: "GET /v1.41/services" + query("label", "a=c")},
		{request: "GET /v1.41/services" + query("mode", "replicated")},
		{request: "GET /v1.41/tasks" + query("desired-state", "running")},
		{request: "GET /v1.41/tasks" + query("desired-state", "nope")},
		{request: "GET /v1.41/tasks" + query("service", "nope")},
		{request: "GET /v1.41/tasks" + query("node", "nope")},
		{request: "GET /v1.41/tasks" + query("name", "web.1")},
		{request: "GET /v1.41/tasks" + query("label", "a=b")},
		{request: "GET /v1.41/networks/ingress"},
		create(`{"Name":"web",` + image + `}`),
		create(`{"Name":"c1",` + image + `,"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080}]}}`),
		create(`{"Name":"c1",` + image + `,"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080,"PublishMode":"host"}]}}`),
		create(`{"Name":"c1",` + image + `,"EndpointSpec":{"Mode":"dnsrr","Ports":[{"TargetPort":80,"PublishedPort":8085}]}}`),
		create(`{"Name":"c1",` + image + `,"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8085},{"TargetPort":81,"PublishedPort":8085}]}}`),
		create(`{"Name":"c1","TaskTemplate":{"ContainerSpec":{}}}`),
		create(`{"Name":"c1","TaskTemplate":{}}`),
		create(`garbage`),
		create(`{"Name":"c1","TaskTemplate":{"ContainerSpec":{"Image":"busybox"},"Networks":[{"Target":"nope"}]}}`),
		update("", spec("web", webPort)),
		update("?version=abc", spec("web", webPort)),
		update("?version=1", spec("web", webPort)),
		{request: "POST /v1.41/services/nope/update?version=1", body: spec("web", webPort)},
		update("?version={web}", spec("other", webPort)),
		update("?version={web}", `{"Name":"web",`+image+`,"Mode":{"Global":{}}}`),
		update("?version={web}&rollback=previous", spec("web", webPort)),
		{request: "POST /v1.41/services/create", body: spec("web", webPort), untyped: true},
		{request: "DELETE /v1.41/networks/ingress"},
		// A change of labels only does not touch the tasks.
		update("?version={web}", strings.Replace(spec("web", webPort), `"a":"b"`, `"a":"c"`, 1)),
		{request: "GET /v1.41/services/web"},
		// A global service on a network, with ports that the swarm chooses.
		create(`{"Name":"dyn","TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest","Args":["sleep","1000"],"Env":[],"Labels":{}},` +
			`"Resources":{},"RestartPolicy":{"Condition":"any"},"Placement":{"Constraints":[]},"Networks":[{"Target":"ov"}]},` +
			`"Mode":{"Global":{}},"EndpointSpec":{"Ports":[{"TargetPort":80},{"TargetPort":81,"Protocol":"udp"}]}}`),
		{request: "GET /v1.41/tasks" + query("service", "dyn"), until: tasks("running")},
		{request: "GET /v1.41/services/dyn"},
		{request: "GET /v1.41/networks/ov"},
		{request: "DELETE /v1.41/networks/ov"},
		{request: "DELETE /v1.41/services/dyn"},
		{request: "GET /v1.41/tasks" + query("service", "dyn")},
		{request: "GET /v1.41/networks/ov", until: has(`"Containers":null`)},
		{request: "DELETE /v1.41/networks/ov"},
		// Without ports nothing is allocated.
		create(`{"Name":"plain","TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest","Args":["sleep","1000"],"StopGracePeriod":100000000}},` +
			`"EndpointSpec":{}}`),
		{request: "GET /v1.41/tasks" + query("service", "plain"), until: tasks("running")},
		{request: "GET /v1.41/services/plain"},
		{request: "POST /v1.41/services/plain/update?version={plain}", body: `{"Name":"plain",` + image + `,"Mode":{"Replicated":{"Replicas":0}}}`},
		{request: "GET /v1.41/services/plain"},
		{request: "GET /v1.41/tasks" + query("service", "plain"), until: tasks()},
		{request: "DELETE /v1.41/services/plain"},
	}
}

func configScript() []step {
	create := func(body string) step { return step{request: "POST /v1.41/configs/create", body: body} }
	return []step{
		create(`{"Name":"lock","Labels":{"a":"b"},"Data":"aGVsbG8="}`),
		create(`{"Name":"lock","Data":"aGVsbG8="}`),
		create(`{"Name":"","Data":"aGVsbG8="}`),
		create(`{"Name":"empty"}`),
		create(`{"Name":"bad name","Data":"aGVsbG8="}`),
		create(`{"Name":"x","Data":"%%"}`),
		create(`garbage`),
		{request: "POST /v1.41/configs/create", body: `{"Name":"lock","Data":"aGVsbG8="}`, untyped: true},
		{request: "GET /v1.41/configs"},
		{request: "GET /v1.41/configs/lock"},
		{request: "GET /v1.41/configs" + query("name", "lo")},
		{request: "GET /v1.41/configs" + query("label", "a=c")},
		{request: "POST /v1.41/configs/lock/update?version=1", body: `{"Name":"lock","Labels":{"a":"c"},"Data":"aGVsbG8="}`},
		{request: "POST /v1.41/configs/lock/update?version=1", body: `{"Name":"lock","Labels":{"a":"c"},"Data":"aGVsbG9v"}`},
		{request: "DELETE /v1.41/configs/lock"},
		{request: "DELETE /v1.41/configs/lock"},
	}
}

// ingressScript replaces the ingress network as it should be done.
func ingressScript() []step {
	update := func(body string) step {
		return step{request: "POST /v1.41/services/web/update?version={web}", body: body}
	}
	return []step{
		update(spec("web", noPort)),
		{request: "GET /v1.41/services/web", until: updated},
		{request: "GET /v1.41/tasks" + query("service", "web"), until: tasks("running", "running", "shutdown", "shutdown")},
		{request: "DELETE /v1.41/networks/ingress"},
		{request: "GET /v1.41/networks/ingress", until: status(404)},
		{request: "GET /v1.41/networks"},
		{request: "GET /v1.41/networks/docker_gwbridge"},
		{request: "DELETE /v1.41/networks/ingress"},
		{request: "POST /v1.41/services/create", body: spec("late", webPort)},
		update(spec("web", webPort)),
		{request: "POST /v1.41/networks/create", body: `{"Name":"ingress2","Driver":"overlay","Ingress":true,"EnableIPv6":false,` +
			`"IPAM":{"Driver":"default","Config":[{"Subnet":"10.11.0.0/16","Gateway":"10.11.0.2","IPRange":"10.11.4.0/24",` +
			`"AuxiliaryAddresses":{"a":"10.11.4.9"}}]},"Options":{"com.docker.network.driver.mtu":"1200"},"Labels":{"x":"y"}}`},
		// The node has no reason to take it up, until something happens to it.
		{request: "GET /v1.41/networks/ingress2", until: has(`"10.11.4.0/24"`)},
		{request: "POST /v1.41/nodes/nope/update", body: `{"Role":"manager","Availability":"active"}`},
		{request: "POST /v1.41/nodes/nope/update?version=1", body: `{"Role":"manager"}`},
		{request: "POST /v1.41/nodes/nope/update?version=1", body: `{"Role":"manager","Availability":"active"}`},
		{request: "POST /v1.41/nodes/nope/update", body: `{}`},
		{request: "POST /v1.41/nodes/nope/update", body: `garbage`},
		{request: "POST /v1.41/nodes/{node}0", body: `{"Role":"manager","Availability":"active"}`},
		{request: "POST /v1.41/nodes/{node}", body: `{"Role":"manager","Availability":"active","Labels":{"poked":"yes"}}`},
		{request: "GET /v1.41/nodes"},
		{request: "GET /v1.41/networks/ingress2", until: has(`"ingress2-sbox":{`)},
		{request: "GET /v1.41/networks" + query("name", "ingress2")},
		update(spec("web", webPort)),
		{request: "GET /v1.41/services/web", until: updated},
		{
			request: "GET /v1.41/tasks" + query("service", "web"),
			until:   tasks("running", "running", "shutdown", "shutdown", "shutdown", "shutdown"),
		},
		{request: "GET /v1.41/networks/ingress2"},
	}
}

// trapScript replaces the ingress network while tasks are attached to it: the
// node keeps the old one and never takes up the new one.
func trapScript() []step {
	slow := func(more string) string { return strings.Replace(spec("web", more), "500000000", "4000000000", 1) }
	create := func(name string) step {
		return step{request: "POST /v1.41/networks/create", body: `{"Name":"` + name + `","Driver":"overlay","Ingress":true,` +
			`"CheckDuplicate":true,"IPAM":{"Config":[{"Subnet":"10.12.0.0/16"}]}}`}
	}
	ended := make([]string, 0, 10)
	ended = append(ended, "running", "running")
	for range 8 {
		ended = append(ended, "shutdown")
	}
	return []step{
		{request: "POST /v1.41/services/web/update?version={web}", body: slow(webPort)},
		{request: "GET /v1.41/services/web", until: updated},
		{request: "POST /v1.41/services/web/update?version={web}", body: slow(noPort)},
		{request: "DELETE /v1.41/networks/ingress2"},
		{request: "GET /v1.41/services/web", until: updated},
		{request: "GET /v1.41/tasks" + query("service", "web"), until: tasks(ended...)},
		{request: "GET /v1.41/networks/ingress2"},
		{request: "DELETE /v1.41/networks/ingress2"},
		create("ingress2"),
		create("ingress3"),
		{request: "GET /v1.41/networks/ingress3", until: has("10.12.0.1")},
		{request: "GET /v1.41/networks/ingress2"},
		{request: "GET /v1.41/networks/docker_gwbridge"},
		{request: "GET /v1.41/networks" + query("scope", "swarm")},
	}
}
