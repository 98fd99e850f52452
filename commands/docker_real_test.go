package commands_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft/engine/dockerdtest"
	"weft/engine/testenv"
)

// lifeLines are what happens to a container NAME and a volume of its own, by a
// client on a real daemon. Files are in $DIR.
func lifeLines() []string {
	return strings.Split(strings.TrimSpace(`
volume create --label of=NAME -o type=tmpfs -o device=tmpfs NAME-vol
volume inspect -f '{{.Name}} {{.Labels}} {{.Options}}' NAME-vol
create --name NAME -v NAME-vol:/data --tmpfs /tmp:size=1m -m 64m --memory-swap 128m --cpus 0.5 --pids-limit 50 --cap-drop MKNOD --security-opt no-new-privileges --ulimit nofile=100:200 --label of=NAME --network none --stop-signal KILL busybox sleep 1000
inspect -f '{{.HostConfig.Binds}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.CapDrop}} {{json .HostConfig.Ulimits}} {{.HostConfig.Tmpfs}} {{.Config.Labels}} {{.Config.StopSignal}}' NAME
cp $DIR/file NAME:/etc/copied
start NAME
exec NAME sh -c 'ulimit -n; cat /etc/copied; grep -c NoNewPrivs /proc/self/status; df /tmp | tail -1 | cut -c1-5'
cp $DIR/tree NAME:/etc
cp $DIR/tree/. NAME:/etc
cp $DIR/tree NAME:/etc/copied
cp $DIR/missing NAME:/etc
cp NAME:/etc/tree $DIR/back
cp NAME:/etc/nope $DIR/back2
cp NAME:/etc/copied $DIR/back/one
exec NAME find /etc/tree /etc/sub /etc/a
diff NAME
update -m 128m --memory-swap 256m --cpus 1 --pids-limit 60 --restart on-failure:2 NAME
inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy}}' NAME
update -m 1k NAME
update --restart always NAME nope
pause NAME
pause NAME
ps --filter name=NAME --format '{{.Names}} {{.State}}'
exec NAME true
unpause NAME
stats --no-stream --format '{{.Name}} {{.PIDs}}' NAME
stats --no-stream nope
top NAME -eo pid,comm
top NAME -o comm
top nope
restart -t 0 NAME nope
volume rm NAME-vol
volume ls --filter label=of=NAME --format '{{.Driver}} {{.Name}}'
commit -m why -c 'ENV X=y' -p=false NAME of-name:NAME
image inspect -f '{{.Config.Env}} {{.Comment}}' of-name:NAME
export -o $DIR/exported NAME
kill NAME
wait NAME
container prune --filter label=of=NAME -f
volume rm NAME-vol
volume rm NAME-vol
rmi of-name:NAME
run --rm --network none --read-only --tmpfs /run --workdir /run -u 5:6 --group-add 7 --init -h box --sysctl net.ipv4.ip_forward=1 busybox sh -c 'id; pwd; hostname; cat /proc/sys/net/ipv4/ip_forward; echo x > /x'
run --rm --network none --entrypoint nosuch busybox
run --rm --mount type=bind,src=/nosuch,target=/x busybox true
run --rm -v x:/y -v z:/y busybox true
run --rm --cap-add NOSUCH busybox true
run --rm --security-opt odd=x busybox true
run --rm --pid container:nope busybox true
run --rm --runtime nosuch busybox true
run --rm --annotation a=b busybox true
run --rm --shm-size 8m --network none --health-cmd true --health-interval 1s busybox sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
run --rm --device /dev/null:/dev/mine:r --network none busybox sh -c 'test -c /dev/mine && echo x > /dev/mine'
`), "\n")
}

// TestLikeDockerOnDockerd lets weft and docker do the same on a real daemon,
// an old one, each to a container of its own.
func TestLikeDockerOnDockerd(t *testing.T) {
	dockerdtest.Require(t)
	if _, err := exec.LookPath("docker"); err != nil {
		testenv.Lacks(t, "no docker client is installed: %v", err)
	}
	host := dockerdtest.Start(t, dockerdtest.Options{}).Hosts[0]
	clients := []struct {
		name string
		run  func(t *testing.T, host, in string, args []string) (out, errOut string, code int)
		dir  string
	}{{"one", tellDocker, t.TempDir()}, {"two", tellWeft, t.TempDir()}}
	makeFiles(t, clients[0].dir)
	makeFiles(t, clients[1].dir)
	for _, line := range lifeLines() {
		var came [2]string
		for i, client := range clients {
			var args []string
			for _, word := range splitWords(line) {
				args = append(args, strings.NewReplacer("$DIR", client.dir, "NAME", client.name).Replace(word))
			}
			out, errOut, code := client.run(t, "unix://"+host.Socket, "", args)
			text := strings.NewReplacer(client.dir, "$DIR", client.name, "NAME", "docker", "weft").Replace(out + errOut)
			came[i] = fmt.Sprintf("exit code %d\n%s", code, plain(text))
		}
		if came[0] != came[1] {
			t.Errorf("%s\ndocker: %s\nweft:   %s", line, came[0], came[1])
		}
	}
	for _, name := range []string{"back", "exported"} {
		theirs, ours := strings.Count(files(t, clients[0].dir), name), strings.Count(files(t, clients[1].dir), name)
		if theirs == 0 || theirs != ours {
			t.Errorf("%s: docker left %d files, weft %d", name, theirs, ours)
		}
	}
}

// plain leaves out of an output what differs from one container to the next,
// and what docker's archiver logs.
func plain(text string) string {
	for pattern, instead := range map[string]string{
		`[0-9a-f]{64}`:                    "ID",
		`(?m)^[0-9]+( +sleep)$`:           "PID$1",
		`(?m)^time=".*\n`:                 "",
		`(Deleted: sha256:.*\n)+`:         "Deleted\n", // they share layers
		`(Total reclaimed space: )\d.*\n`: "$1",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, instead)
	}
	if !regexp.MustCompile(`(?m)^[ACD] /`).MatchString(text) {
		return text
	}
	lines := strings.Split(text, "\n") // changes come in any order
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
