package ingress

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft/wizard"
)

const web = `{"Name":"web","Unknown":{"kept":1},"Mode":{"Replicated":{"Replicas":3}},"EndpointSpec":{"Mode":"vip","Ports":[` +
	`{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"ingress","New":9007199254740993},` +
	`{"Protocol":"tcp","TargetPort":81,"PublishedPort":8081,"PublishMode":"host"}]}}`

func TestDetach(t *testing.T) {
	for name, tt := range map[string]struct {
		spec   string
		toZero bool
		want   string
	}{
		"host ports stay": {web, false, `{"Name":"web","Unknown":{"kept":1},"Mode":{"Replicated":{"Replicas":3}},` +
			`"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":81,"PublishedPort":8081,"PublishMode":"host"}]}}`},
		"to zero": {
			`{"Mode":{"Replicated":{"Replicas":3}},"EndpointSpec":{"Ports":[{"TargetPort":80}]}}`, true,
			`{"Mode":{"Replicated":{"Replicas":0}},"EndpointSpec":{}}`,
		},
		"global to zero": {`{"Mode":{"Global":{}},"EndpointSpec":{"Ports":[{"TargetPort":80}]}}`, true, `{"Mode":{"Global":{}}}`},
		"no endpoint":    {`{"Name":"x"}`, false, `{"Name":"x"}`},
	} {
		got, err := detach(json.RawMessage(tt.spec), tt.toZero)
		if err != nil || !same(got, json.RawMessage(tt.want)) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if published, err := Published(got); err != nil || len(published) > 0 {
			t.Errorf("%s: still publishes, %v", name, err)
		}
		back, theirs, changed, err := transfer(got, got, json.RawMessage(tt.spec))
		if err != nil || len(theirs) > 0 || changed == same(got, json.RawMessage(tt.spec)) || !same(back, json.RawMessage(tt.spec)) {
			t.Errorf("%s: put back: %s, %v, %t, %v", name, back, theirs, changed, err)
		}
	}
}

func TestTransferLeavesWhatIsTheirs(t *testing.T) {
	from, to := `{"Labels":{"a":"1"},"EndpointSpec":{}}`, `{"Labels":{"a":"1"},"EndpointSpec":{"Ports":[{"TargetPort":80}]}}`
	for name, tt := range map[string]struct {
		current, want string
		theirs        []string
		changed       bool
	}{
		"another member":  {`{"Labels":{"a":"2"},"EndpointSpec":{}}`, `{"Labels":{"a":"2"},"EndpointSpec":{"Ports":[{"TargetPort":80}]}}`, nil, true},
		"the ports":       {`{"EndpointSpec":{"Ports":[{"TargetPort":90}]}}`, `{"EndpointSpec":{"Ports":[{"TargetPort":90}]}}`, []string{"EndpointSpec"}, false},
		"done already":    {to, to, nil, false},
		"absent is empty": {`{"Labels":{"a":"1"}}`, to, nil, true},
	} {
		got, theirs, changed, err := transfer(json.RawMessage(tt.current), json.RawMessage(from), json.RawMessage(to))
		if err != nil || !same(got, json.RawMessage(tt.want)) || !slices.Equal(theirs, tt.theirs) || changed != tt.changed {
			t.Errorf("%s: %s, %v, %t, %v", name, got, theirs, changed, err)
		}
	}
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{`{"A":null,"B":[],"C":{"D":{}}}`, ``, true},
		{`{"A":1,"B":2}`, `{"B":2,"A":1}`, true},
		{`{"N":9007199254740993}`, `{"N":9007199254740992}`, false},
		{`{"A":0}`, `{}`, false}, // a number is said or not said
		{`[1,2]`, `[2,1]`, false},
	} {
		if got := same(json.RawMessage(tt.a), json.RawMessage(tt.b)); got != tt.want {
			t.Errorf("%s and %s: %t", tt.a, tt.b, got)
		}
	}
}

func TestParseOptions(t *testing.T) {
	for answers, want := range map[string]string{
		`{}`:                  "",
		`{"name":"a b"}`:      "no name for a network",
		`{"strategy":"hope"}`: "neither detach nor scale-to-zero",
		`{"mtu":67}`:          "between 68 and 65535",
		`{"mtu":1200,"opts":{"com.docker.network.driver.mtu":"1300"}}`:                "given twice",
		`{"pools":[{"Gateway":"10.0.0.1"}]}`:                                          "give --subnet",
		`{"pools":[{"Subnet":"10.11.0.0"}]}`:                                          "CIDR form",
		`{"pools":[{"Subnet":"10.11.0.1/16"}]}`:                                       "it should be 10.11.0.0/16",
		`{"pools":[{"Subnet":"10.11.0.0/16","Gateway":"10.12.0.1"}]}`:                 "gateway 10.12.0.1 is not inside",
		`{"pools":[{"Subnet":"10.11.0.0/16","Gateway":"10.11.0.0"}]}`:                 "address of subnet",
		`{"pools":[{"Subnet":"10.11.0.0/16","IPRange":"10.11.0.0/8"}]}`:               "range 10.11.0.0/8 is not inside",
		`{"pools":[{"Subnet":"10.11.0.0/16","AuxiliaryAddresses":{"r":"10.0.0.1"}}]}`: "auxiliary address r",
		`[]`: "read answers",
	} {
		_, err := ParseOptions(json.RawMessage(answers))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", answers, err, want)
		}
	}
}

func TestPreflight(t *testing.T) {
	sound := func() (*World, *saved) {
		old := &Network{ID: "i", Spec: NetworkSpec{Name: "ingress", IPAM: IPAM{Config: []Pool{{Subnet: "10.0.0.0/24"}}}}}
		w := &World{
			Manager: true, Quorum: true, Ingress: old, Underlay: 1500, Names: []string{"front"},
			Nodes: []Node{{ID: "n", Hostname: "n1", Addr: "192.0.2.1", State: "ready", EngineVersion: "20.10"}},
			Taken: []Subnet{{Prefix: "10.60.0.0/24", By: "network front"}},
			Pools: []string{"10.250.0.0/16"}, BridgePools: []string{"172.18.0.0/16"},
			Services: []Service{{ID: "s", Name: "web", Spec: json.RawMessage(web)}},
		}
		return w, &saved{Old: old, New: old.again(), Nodes: w.Nodes, Services: []kept{{ID: "s", Name: "web", Spec: json.RawMessage(web), Running: 3}}}
	}
	type row struct {
		spoil func(*World, *saved)
		fix   string
	}
	table := map[string]row{
		"not-a-manager":  {func(w *World, _ *saved) { w.Manager = false }, "--host or --context"},
		"no-quorum":      {func(w *World, _ *saved) { w.Quorum = false }, "weft node ls"},
		"node-not-ready": {func(w *World, _ *saved) { w.Nodes[0].State = "down" }, "bring n1 back"},
		"engine-versions": {func(w *World, _ *saved) {
			w.Nodes = append(w.Nodes, Node{ID: "m", State: "ready", EngineVersion: "28.5"})
		}, "finish the upgrade"},
		"name-taken":          {func(_ *World, s *saved) { s.New.Name = "front" }, "another --name"},
		"subnet-overlap":      {func(_ *World, s *saved) { s.New.IPAM.Config = []Pool{{Subnet: "10.60.0.0/16"}} }, "another --subnet"},
		"bridge-pool-overlap": {func(_ *World, s *saved) { s.New.IPAM.Config = []Pool{{Subnet: "172.18.0.0/24"}} }, "default-address-pools"},
		"subnet-in-pool":      {func(_ *World, s *saved) { s.New.IPAM.Config = []Pool{{Subnet: "10.250.7.0/24"}} }, "outside of it"},
		"ipv6-without-subnet": {func(_ *World, s *saved) { s.New.EnableIPv6 = true }, "IPv6 --subnet"},
		"subnet-too-small":    {func(_ *World, s *saved) { s.New.IPAM.Config = []Pool{{Subnet: "10.11.0.0/29"}} }, "larger --subnet"},
		"mtu-unchecked": {func(w *World, s *saved) {
			w.Underlay, s.New.Options = 0, map[string]string{MTUOption: "1200"}
		}, "a manager's own machine"},
		"mtu-below-ipv6": {func(_ *World, s *saved) {
			s.New.EnableIPv6, s.New.Options = true, map[string]string{MTUOption: "1200"}
			s.New.IPAM.Config = append(s.New.IPAM.Config, Pool{Subnet: "fd00:11::/64"})
		}, "--mtu 1280 or more"},
		"mtu-too-large":       {func(_ *World, s *saved) { s.New.Options = map[string]string{MTUOption: "1500"} }, "--mtu 1450 or less"},
		"spec-not-understood": {func(w *World, _ *saved) { w.Services[0].Lossy = "Unknown.kept" }, "as new as the engine"},
		"service-updating":    {func(w *World, _ *saved) { w.Services[0].Update = "updating" }, "weft service ps web"},
		"update-paused":       {func(w *World, _ *saved) { w.Services[0].Update = "paused" }, "mend the service"},
	}
	for code, r := range table {
		w, s := sound()
		r.spoil(w, s)
		list := preflight(w, s)
		if len(list) != 1 || list[0].Code != code || !strings.Contains(list[0].Fix, r.fix) {
			t.Errorf("found %+v, want %s with the fix %q", list, code, r.fix)
		}
	}
	if w, s := sound(); len(preflight(w, s)) > 0 {
		t.Errorf("found %+v in a sound swarm", preflight(w, s))
	}
	for _, code := range codes(t) {
		if _, is := table[code]; !is && code != "unreadable" { // TestReview finds that
			t.Errorf("no test finds %s", code)
		}
	}
	w, s := sound()
	s.New.IPAM.Config = []Pool{{Subnet: "192.0.2.0/24"}}
	if f := preflight(w, s); len(f) != 1 || f[0].Severity != wizard.Blocks || !strings.Contains(f[0].Text, "address 192.0.2.1 of node n1") {
		t.Errorf("a node's own address: %+v", f)
	}
}

// codes gives the codes of all findings, as the source has them.
func codes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Code: |blocks\()([^,]+)`).FindAllStringSubmatch(string(source), -1) {
			if m[1] == "code" { // blocks itself
				continue
			}
			code, err := strconv.Unquote(m[1])
			if err != nil {
				t.Errorf("%s: the code %s is not written out: nobody can look for it", name, m[1])
			}
			list = append(list, code)
		}
	}
	if len(list) < 15 {
		t.Errorf("found only %v", list)
	}
	return list
}

// TestReview looks at findings for answers on their way.
func TestReview(t *testing.T) {
	w := World{Manager: true, Quorum: true, Underlay: 1500, Services: []Service{{ID: "s", Name: "web", Spec: json.RawMessage(`{"EndpointSpec":7}`)}}}
	if list := (&view{w}).Review(json.RawMessage(`{}`)); len(list) != 1 || list[0].Code != "unreadable" || !strings.Contains(list[0].Fix, "as new as the engine") {
		t.Errorf("a service that can't be read: %+v", list)
	}
	w.Services = nil
	if list := (&view{w}).Review(json.RawMessage(`{"mtu":1480}`)); len(list) != 1 || list[0].Code != "mtu-too-large" || list[0].Answer != "mtu" {
		t.Errorf("an answer that does not fit: %+v", list)
	}
	if list := (&view{w}).Review(json.RawMessage(`{"mtu":1400}`)); len(list) > 0 {
		t.Errorf("an answer that fits: %+v", list)
	}
}

func TestCommandLine(t *testing.T) {
	yes := true
	got := CommandLine(Options{
		Name: "my-ingress", Pools: []Pool{{Subnet: "10.11.0.0/16", Gateway: "10.11.0.2", AuxAddress: map[string]string{"r": "10.11.0.3"}}},
		MTU: 1200, Opts: map[string]string{"b": "it's"}, Labels: map[string]string{"x": ""}, IPv6: &yes, Strategy: ScaleToZero,
	})
	want := `weft ingress customise --name my-ingress --subnet 10.11.0.0/16 --gateway 10.11.0.2 --aux-address r=10.11.0.3` +
		` --mtu 1200 --opt 'b=it'\''s' --label x= --ipv6=true --strategy scale-to-zero`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
