package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdtest"
)

// networksByName answers with an ID made of the name.
type networksByName struct{}

func (networksByName) NetworkInspect(_ context.Context, name string, o network.InspectOptions) (network.Inspect, error) {
	if name == "none" || o.Scope != "swarm" {
		return network.Inspect{}, fmt.Errorf("network %s not found", name)
	}
	return network.Inspect{ID: "id-" + strings.TrimPrefix(name, "id-")}, nil
}

func execute(cmd *cobra.Command, args []string) error {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(args)
	return cmd.Execute()
}

// createSpec gives the specification that a command line of create makes.
func createSpec(t *testing.T, args []string) (swarm.ServiceSpec, error) {
	t.Helper()
	var spec swarm.ServiceSpec
	err := execute(newCreateCommand(cmdtest.NewSession(t, "", nil).Env, func(o *createOptions) error {
		var err error
		spec, err = o.spec(t.Context(), networksByName{})
		return err
	}), args)
	return spec, err
}

// updateSpec gives what a command line of update makes of a specification.
func updateSpec(t *testing.T, before string, args []string) (swarm.ServiceSpec, error) {
	t.Helper()
	var spec swarm.ServiceSpec
	if err := json.Unmarshal([]byte(before), &spec); err != nil {
		t.Fatal(err)
	}
	err := execute(newUpdateCommand(cmdtest.NewSession(t, "", nil).Env, func(o *updateOptions) error {
		return o.edit(t.Context(), networksByName{}, &spec)
	}), args)
	return spec, err
}

// at gives the part of a value at a path of JSON names, as JSON; "-" when it
// is not there.
func at(t *testing.T, v any, path string) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var part any
	if err := json.Unmarshal(data, &part); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		fields, ok := part.(map[string]any)
		if !ok {
			return "-"
		}
		if part, ok = fields[name]; !ok {
			return "-"
		}
	}
	if data, err = json.Marshal(part); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const (
	inContainer = "TaskTemplate.ContainerSpec."
	inTask      = "TaskTemplate."
)

// parse is a command line (words separated by blanks; _ stands for one within
// a word) and what it makes.
type parse struct{ args, path, want string }

func (p parse) words() []string {
	words := strings.Fields(p.args)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "_", " ")
	}
	return words
}

func TestCreateSpec(t *testing.T) {
	t.Setenv("OUTSIDE", "here")
	for _, tt := range []parse{
		{"--name n img", "Name", `"n"`},
		{"-l a=b --label c img", "Labels", `{"a":"b","c":""}`},
		{"img", inContainer + "Image", `"img"`},
		{"img run -x --name y", inContainer + "Args", `["run","-x","--name","y"]`},
		{"img", inContainer + "Init", "false"},
		{"--init img", inContainer + "Init", "true"},
		{"--entrypoint sh_-c_'a_b' img", inContainer + "Command", `["sh","-c","a b"]`},
		{"-e A=1 -e B=2 -e A=3 -e OUTSIDE img", inContainer + "Env", `["B=2","A=3","OUTSIDE=here"]`},
		{"--hostname h -w /d -u 1:2 --group g --stop-signal INT -t --read-only img", inContainer + "Groups", `["g"]`},
		{"--container-label a=b img", inContainer + "Labels", `{"a":"b"}`},
		{"--mount type=volume,source=v,target=/t,readonly img", inContainer + "Mounts", `[{"ReadOnly":true,"Source":"v","Target":"/t","Type":"volume"}]`},
		{"--dns 1.1.1.1 --dns-search x.y --dns-option ndots:2 img", inContainer + "DNSConfig", `{"Nameservers":["1.1.1.1"],"Options":["ndots:2"],"Search":["x.y"]}`},
		{"--host a:1.2.3.4 --host b:::1 img", inContainer + "Hosts", `["1.2.3.4 a","::1 b"]`},
		{"--stop-grace-period 3s img", inContainer + "StopGracePeriod", "3000000000"},
		{"img", inContainer + "StopGracePeriod", "-"},
		{"--sysctl net.ipv4.ip-forward=1 img", inContainer + "Sysctls", `{"net.ipv4.ip-forward":"1"}`},
		{"--cap-add net-admin --cap-drop CAP-X --cap-drop net-admin img", inContainer + "CapabilityAdd", `["CAP_NET-ADMIN"]`},
		{"--ulimit nofile=10:20 img", inContainer + "Ulimits", `[{"Hard":20,"Name":"nofile","Soft":10}]`},
		{"--oom-score-adj -5 img", inContainer + "OomScoreAdj", "-5"},
		{"--isolation default img", inContainer + "Isolation", `"default"`},
		{"--credential-spec file://f img", inContainer + "Privileges.CredentialSpec.File", `"f"`},
		{"--health-cmd true --health-interval 5s --health-retries 3 --health-start-interval 1s img", inContainer + "Healthcheck", `{"Interval":5000000000,"Retries":3,"StartInterval":1000000000,"Test":["CMD-SHELL","true"]}`},
		{"--no-healthcheck img", inContainer + "Healthcheck", `{"Test":["NONE"]}`},
		{"img", inContainer + "Healthcheck", "-"},
		{"img", inTask + "Resources", `{"Limits":{},"Reservations":{}}`},
		{"--limit-cpu .5 --limit-memory 1k --limit-pids 9 --reserve-cpu 1 --reserve-memory 2k img", inTask + "Resources", `{"Limits":{"MemoryBytes":1024,"NanoCPUs":500000000,"Pids":9},"Reservations":{"MemoryBytes":2048,"NanoCPUs":1000000000}}`},
		{"--generic-resource b=2 --generic-resource a=1 img", inTask + "Resources.Reservations.GenericResources", `[{"DiscreteResourceSpec":{"Kind":"a","Value":1}},{"DiscreteResourceSpec":{"Kind":"b","Value":2}}]`},
		{"img", inTask + "RestartPolicy", "-"},
		{"--restart-condition none img", inTask + "RestartPolicy", `{"Condition":"none","Delay":5000000000,"MaxAttempts":0}`},
		{"--restart-delay 1s --restart-max-attempts 2 --restart-window 3s img", inTask + "RestartPolicy", `{"Condition":"any","Delay":1000000000,"MaxAttempts":2,"Window":3000000000}`},
		{"--constraint node.role==manager --placement-pref spread=node.labels.x --replicas-max-per-node 2 img", inTask + "Placement", `{"Constraints":["node.role==manager"],"MaxReplicas":2,"Preferences":[{"Spread":{"SpreadDescriptor":"node.labels.x"}}]}`},
		{"--log-driver syslog --log-opt a=b img", inTask + "LogDriver", `{"Name":"syslog","Options":{"a":"b"}}`},
		{"--log-opt a=b img", inTask + "LogDriver", "-"},
		{"--network n2 --network name=n1,alias=x,driver-opt=k=v img", inTask + "Networks", `[{"Aliases":["x"],"DriverOpts":{"k":"v"},"Target":"id-n1"},{"Target":"id-n2"}]`},
		{"img", "Mode", `{"Replicated":{}}`},
		{"--replicas 0 img", "Mode", `{"Replicated":{"Replicas":0}}`},
		{"--mode global img", "Mode", `{"Global":{}}`},
		{"--mode replicated-job --replicas 4 img", "Mode", `{"ReplicatedJob":{"MaxConcurrent":4,"TotalCompletions":4}}`},
		{"--mode replicated-job --replicas 4 --max-concurrent 2 img", "Mode", `{"ReplicatedJob":{"MaxConcurrent":2,"TotalCompletions":4}}`},
		{"--mode global-job img", "Mode", `{"GlobalJob":{}}`},
		{"img", "UpdateConfig", "-"},
		{"--update-delay 2s img", "UpdateConfig", `{"Delay":2000000000,"FailureAction":"pause","MaxFailureRatio":0,"Monitor":5000000000,"Order":"stop-first","Parallelism":1}`},
		{"--rollback-parallelism 0 --rollback-order start-first --rollback-max-failure-ratio .5 --rollback-failure-action continue --rollback-monitor 1s img", "RollbackConfig", `{"FailureAction":"continue","MaxFailureRatio":0.5,"Monitor":1000000000,"Order":"start-first","Parallelism":0}`},
		{"img", "EndpointSpec", `{"Mode":"vip"}`},
		{"--endpoint-mode DNSRR img", "EndpointSpec", `{"Mode":"dnsrr"}`},
		{"-p 80 img", "EndpointSpec.Ports", `[{"Protocol":"tcp","PublishMode":"ingress","TargetPort":80}]`},
		{"-p 8080:80/udp img", "EndpointSpec.Ports", `[{"Protocol":"udp","PublishMode":"ingress","PublishedPort":8080,"TargetPort":80}]`},
		{"--publish published=8080,target=80,mode=host img", "EndpointSpec.Ports", `[{"Protocol":"tcp","PublishMode":"host","PublishedPort":8080,"TargetPort":80}]`},
	} {
		t.Run(tt.args+" "+tt.path, func(t *testing.T) {
			spec, err := createSpec(t, tt.words())
			if err != nil {
				t.Fatal(err)
			}
			if got := at(t, spec, tt.path); got != tt.want {
				t.Errorf("%s = %s, want %s", tt.path, got, tt.want)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                                 "requires at least 1 argument",
		"--mode odd img":                   "Unknown mode: odd, only replicated and global supported",
		"--mode global --replicas 2 img":   "replicas can only be used with replicated or replicated-job mode",
		"--mode global-job --replicas 2 i": "replicas can only be used with replicated or replicated-job mode",
		"--mode global --replicas-max-per-node 2 img":       "replicas-max-per-node can only be used with replicated or replicated-job mode",
		"--mode global --max-concurrent 2 img":              "max-concurrent can only be used with replicated-job mode",
		"--max-concurrent 2 img":                            "max-concurrent can only be used with replicated-job mode",
		"--mode global-job --update-delay 1s img":           "update and rollback configuration is not supported for jobs",
		"--mode replicated-job --rollback-delay 1s i":       "update and rollback configuration is not supported for jobs",
		"--no-healthcheck --health-cmd x img":               "--no-healthcheck conflicts with --health-* options",
		"--health-interval -1s img":                         "duration cannot be negative",
		"--replicas many img":                               `invalid argument "many" for "--replicas" flag: strconv.ParseUint: parsing "many": invalid syntax`,
		"--update-max-failure-ratio x img":                  `parsing "x": invalid syntax`,
		"--network none img":                                "network none not found",
		"--placement-pref x img":                            `placement preference must be of the format "<strategy>=<arg>"`,
		"--placement-pref pack=x img":                       "unsupported placement preference pack (only spread is supported)",
		"--credential-spec x img":                           `invalid credential spec: value must be prefixed with "config://", "file://", or "registry://"`,
		"--generic-resource x img":                          "invalid generic-resource format `x` expected `name=value`",
		"--generic-resource x=y img":                        "Named Generic Resources is not supported for service create or update",
		"--generic-resource x=-1 img":                       "cannot ask for negative resource x",
		"--generic-resource x=1 --generic-resource x=2 img": "mixed discrete and named resources in expression 'x=[1 2]'",
		"--entrypoint ' img":                                "EOF found when expecting closing quote",
		"--env-file /nowhere/at-all img":                    "no such file or directory",
		"-p 1.2.3.4:80:80 img":                              "hostip is not supported",
		"--dns x img":                                       "IP address is not correctly formatted: x",
	} {
		_, err := createSpec(t, strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("create %s: error %v, want one with %q", args, err, want)
		}
	}
}

const oldSpec = `{"Name":"s","Labels":{"a":"1","b":"2"},
"TaskTemplate":{"ForceUpdate":4,
"ContainerSpec":{"Image":"img","Env":["A=1","B=2","C=3"],"Labels":{"x":"y"},"Groups":["g2","g1"],
 "Hosts":["1.1.1.1 one uno","2.2.2.2 one","3.3.3.3 three"],"DNSConfig":{"Nameservers":["9.9.9.9"]},
 "Mounts":[{"Type":"volume","Source":"v","Target":"/v"},{"Type":"volume","Source":"w","Target":"/w"}],
 "Sysctls":{"k":"1","l":"2"},"Ulimits":[{"Name":"nofile","Soft":1,"Hard":1}],
 "CapabilityAdd":["CAP_A","CAP_B"],"CapabilityDrop":["CAP_C"],
 "Healthcheck":{"Test":["NONE"]}},
"Resources":{"Limits":{"NanoCPUs":5},"Reservations":{"GenericResources":[{"DiscreteResourceSpec":{"Kind":"gpu","Value":1}}]}},
"Placement":{"Constraints":["c1","c2"],"Preferences":[{"Spread":{"SpreadDescriptor":"p1"}},{"Spread":{"SpreadDescriptor":"p2"}}]},
"Networks":[{"Target":"id-n1","Aliases":["al"]}]},
"Mode":{"Replicated":{"Replicas":2}},
"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"ingress"},
 {"Protocol":"udp","TargetPort":53,"PublishedPort":53,"PublishMode":"host"}]}}`

func TestUpdateEdits(t *testing.T) {
	for _, tt := range []parse{
		{"--label-rm a --label-add b=3 --label-add c s", "Labels", `{"b":"3","c":""}`},
		{"--container-label-add z=1 --container-label-rm x s", inContainer + "Labels", `{"z":"1"}`},
		{"--image new --args x_'y_z' s", inContainer + "Args", `["x","y z"]`},
		{"--image new s", inContainer + "Image", `"new"`},
		{"--entrypoint= s", inContainer + "Command", "-"},
		{"--env-rm A --env-add B=9 --env-add D=4 s", inContainer + "Env", `["B=9","C=3","D=4"]`},
		{"--group-rm g1 --group-add g0 s", inContainer + "Groups", `["g0","g2"]`},
		{"--host-rm one s", inContainer + "Hosts", `["1.1.1.1 uno","3.3.3.3 three"]`},
		{"--host-rm one:2.2.2.2 --host-add new:4.4.4.4 s", inContainer + "Hosts", `["1.1.1.1 one uno","3.3.3.3 three","4.4.4.4 new"]`},
		{"--dns-add 1.1.1.1 --dns-search-add a.b --dns-option-add o s", inContainer + "DNSConfig", `{"Nameservers":["1.1.1.1","9.9.9.9"],"Options":["o"],"Search":["a.b"]}`},
		{"--dns-rm 9.9.9.9 s", inContainer + "DNSConfig", `{}`},
		{"--mount-rm /v --mount-add type=volume,source=n,target=/w s", inContainer + "Mounts", `[{"Source":"n","Target":"/w","Type":"volume"}]`},
		{"--sysctl-rm k --sysctl-add l=3 s", inContainer + "Sysctls", `{"l":"3"}`},
		{"--ulimit-rm nofile --ulimit-add nproc=2 s", inContainer + "Ulimits", `[{"Hard":2,"Name":"nproc","Soft":2}]`},
		{"--cap-add C --cap-drop A s", inContainer + "CapabilityAdd", `["CAP_B"]`},
		{"--cap-add C --cap-drop A s", inContainer + "CapabilityDrop", "-"},
		{"--cap-add D --cap-drop E s", inContainer + "CapabilityDrop", `["CAP_C","CAP_E"]`},
		{"--cap-add ALL s", inContainer + "CapabilityAdd", `["ALL"]`},
		{"--cap-add RESET s", inContainer + "CapabilityAdd", "-"},
		{"--health-cmd ok s", inContainer + "Healthcheck", `{"Test":["CMD-SHELL","ok"]}`},
		{"--health-retries 3 --health-start-interval 2s s", inContainer + "Healthcheck", `{"Retries":3,"StartInterval":2000000000}`},
		{"--no-healthcheck s", inContainer + "Healthcheck", `{"Test":["NONE"]}`},
		{"--limit-memory 1k --reserve-cpu 2 s", inTask + "Resources.Limits", `{"MemoryBytes":1024,"NanoCPUs":5}`},
		{"--generic-resource-add fpga=2 --generic-resource-rm gpu s", inTask + "Resources.Reservations.GenericResources", `[{"DiscreteResourceSpec":{"Kind":"fpga","Value":2}}]`},
		{"--constraint-rm c1 --constraint-add c0 s", inTask + "Placement.Constraints", `["c0","c2"]`},
		{"--placement-pref-rm spread=p1 --placement-pref-add spread=p3 s", inTask + "Placement.Preferences", `[{"Spread":{"SpreadDescriptor":"p2"}},{"Spread":{"SpreadDescriptor":"p3"}}]`},
		{"--replicas-max-per-node 3 s", inTask + "Placement.MaxReplicas", "3"},
		{"--network-rm n1 --network-add name=n0,alias=z s", inTask + "Networks", `[{"Aliases":["z"],"Target":"id-n0"}]`},
		{"--network-add n0 s", inTask + "Networks", `[{"Target":"id-n0"},{"Aliases":["al"],"Target":"id-n1"}]`},
		{"--restart-delay 1s s", inTask + "RestartPolicy", `{"Condition":"any","Delay":1000000000,"MaxAttempts":0}`},
		{"--log-driver x s", inTask + "LogDriver", `{"Name":"x"}`},
		{"--force s", inTask + "ForceUpdate", "5"},
		{"--replicas 7 s", "Mode", `{"Replicated":{"Replicas":7}}`},
		{"--update-order start-first s", "UpdateConfig.Order", `"start-first"`},
		{"--rollback-delay 1s s", "RollbackConfig.Delay", "1000000000"},
		{"--endpoint-mode dnsrr s", "EndpointSpec.Mode", `"dnsrr"`},
		{"--publish-rm 80 s", "EndpointSpec.Ports", `[{"Protocol":"udp","PublishMode":"host","PublishedPort":53,"TargetPort":53}]`},
		{"--publish-rm 53/udp s", "EndpointSpec.Ports", `[{"Protocol":"udp","PublishMode":"host","PublishedPort":53,"TargetPort":53},{"Protocol":"tcp","PublishMode":"ingress","PublishedPort":8080,"TargetPort":80}]`},
		{"--publish-rm target=53,protocol=udp,mode=host --publish-add 9090:90 s", "EndpointSpec.Ports", `[{"Protocol":"tcp","PublishMode":"ingress","PublishedPort":8080,"TargetPort":80},{"Protocol":"tcp","PublishMode":"ingress","PublishedPort":9090,"TargetPort":90}]`},
	} {
		t.Run(tt.args+" "+tt.path, func(t *testing.T) {
			spec, err := updateSpec(t, oldSpec, tt.words())
			if err != nil {
				t.Fatal(err)
			}
			if got := at(t, spec, tt.path); got != tt.want {
				t.Errorf("%s = %s, want %s", tt.path, got, tt.want)
			}
		})
	}
}

// An update without flags must send what it got, or tasks are restarted for
// nothing.
func TestUpdateLeavesAlone(t *testing.T) {
	var before swarm.ServiceSpec
	if err := json.Unmarshal([]byte(oldSpec), &before); err != nil {
		t.Fatal(err)
	}
	after, err := updateSpec(t, oldSpec, []string{"s"})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(before)
	if got, _ := json.Marshal(after); string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUpdateRefuses(t *testing.T) {
	const global = `{"TaskTemplate":{"ContainerSpec":{}},"Mode":{"Global":{}}}`
	for _, tt := range []struct{ before, args, want string }{
		{oldSpec, "", "requires 1 argument"},
		{global, "--replicas 2 s", "replicas can only be used with replicated mode"},
		{oldSpec, "--network-add n1 s", "service is already attached to network n1"},
		{oldSpec, "--network-rm none s", "network none not found"},
		{oldSpec, "--generic-resource-rm x s", "could not find generic-resource `x` to remove it"},
		{oldSpec, "--mount-add type=volume,target=/x --mount-add type=volume,target=/x s", "duplicate mount target"},
		{oldSpec, "--no-healthcheck --health-cmd x s", "--no-healthcheck conflicts with --health-* options"},
		{`{"Mode":{"Global":{}}}`, "--force s", "service has no container specification"},
	} {
		_, err := updateSpec(t, tt.before, strings.Fields(tt.args))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("update %s: error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

func TestSplitWords(t *testing.T) {
	for in, want := range map[string]string{
		`a b`:          `["a" "b"]`,
		`  a	'b c' `:   `["a" "b c"]`,
		`"a \"b" c\ d`: `["a \"b" "c d"]`,
		`'a\b' ''`:     `["a\\b" ""]`,
		"a # b\nc d#e": `["a" "c" "d#e"]`,
		``:             `[]`,
		`a"b c"'d'`:    `["ab cd"]`,
	} {
		got, err := splitWords(in)
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("splitWords(%q) = %q, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{`"a`, `a\`, `"a\`} {
		if got, err := splitWords(in); err == nil {
			t.Errorf("splitWords(%q) = %q, want an error", in, got)
		}
	}
}
