package task_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"weft/commands/task"
)

// names knows one service and one node, and counts what it is asked.
type names struct{ asked int }

func (n *names) NodeInspectWithRaw(_ context.Context, id string) (swarm.Node, []byte, error) {
	n.asked++
	if id != "n1" {
		return swarm.Node{}, nil, errors.New("gone")
	}
	return swarm.Node{Description: swarm.NodeDescription{Hostname: "host1"}}, nil, nil
}

func (n *names) ServiceInspectWithRaw(_ context.Context, id string, _ swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	n.asked++
	if id != "s1" {
		return swarm.Service{}, nil, errors.New("gone")
	}
	return swarm.Service{Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "web"}}}, nil, nil
}

var now = time.Date(2025, time.June, 1, 12, 0, 0, 0, time.UTC)

func makeTask(id, service, node string, slot int, age time.Duration) swarm.Task {
	const image = "busybox:1.36@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	return swarm.Task{
		ID: id + "000000000000000000000", Meta: swarm.Meta{CreatedAt: now.Add(-age)},
		ServiceID: service, NodeID: node, Slot: slot, DesiredState: swarm.TaskStateRunning,
		Spec:   swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: image}},
		Status: swarm.TaskStatus{State: swarm.TaskStateRunning, Timestamp: now.Add(-age)},
	}
}

func tasks() []swarm.Task {
	failed := makeTask("t3", "s1", "n1", 2, time.Hour)
	failed.DesiredState, failed.Status.State = swarm.TaskStateShutdown, swarm.TaskStateFailed
	failed.Status.Err = "task: non-zero exit (137): killed by someone"
	published := makeTask("t2", "s1", "n1", 2, time.Minute)
	published.Status.PortStatus.Ports = []swarm.PortConfig{
		{Protocol: "tcp", TargetPort: 80, PublishedPort: 8080}, {Protocol: "udp", TargetPort: 53, PublishedPort: 53},
	}
	attachment := makeTask("t5", "gone", "", 0, time.Second)
	attachment.Spec.ContainerSpec = nil
	return []swarm.Task{makeTask("t1", "s1", "n1", 10, 3*time.Hour), failed, published, makeTask("t4", "s1", "n9", 0, 48*time.Hour), attachment}
}

func TestPrint(t *testing.T) {
	tests := map[string]struct {
		style task.Style
		plain bool
		want  string
	}{
		"table": {want: `ID             NAME        IMAGE          NODE      DESIRED STATE   CURRENT STATE                ERROR                              PORTS
t50000000000   gone.                                Running         Running 1 second ago                                            
t20000000000   web.2       busybox:1.36   host1     Running         Running about a minute ago                                      *:8080->80/tcp,*:53->53/udp
t30000000000    \_ web.2   busybox:1.36   host1     Shutdown        Failed about an hour ago     "task: non-zero exit (137): ki…"   
t10000000000   web.10      busybox:1.36   host1     Running         Running 3 hours ago                                             
t40000000000   web.n9      busybox:1.36   n9        Running         Running 2 days ago                                              
`},
		"quiet": {style: task.Style{Quiet: true}, want: "t50000000000\nt20000000000\nt30000000000\nt10000000000\nt40000000000\n"},
		"template does not indent": {
			style: task.Style{Format: "{{.Name}} {{.Node}}"},
			want:  "gone. \nweb.2 host1\nweb.2 host1\nweb.10 host1\nweb.n9 n9\n",
		},
		"IDs as they are": {
			style: task.Style{Format: "{{.ID}} {{.Name}} {{.Node}} {{.Error}}", Full: true}, plain: true,
			want: "t5000000000000000000000 gone.  \nt2000000000000000000000 s1.2 n1 \n" +
				"t3000000000000000000000 s1.2 n1 \"task: non-zero exit (137): killed by someone\"\n" +
				"t1000000000000000000000 s1.10 n1 \nt4000000000000000000000 s1.n9 n9 \n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			api := &names{}
			resolver := task.NewResolver(api)
			if test.plain {
				resolver = task.NewResolver(nil)
			}
			test.style.Now = now
			var b strings.Builder
			if err := task.Print(t.Context(), &b, tasks(), resolver, test.style); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := 4; !test.plain && api.asked != want {
				t.Errorf("asked %d times, want %d: each ID once", api.asked, want)
			}
		})
	}
}
