package commands_test

import "weft/commands/cmdtest"

// verbAnswers are a container that takes everything and one that is busy.
func verbAnswers(s *cmdtest.Server) {
	for _, verb := range []string{"pause", "unpause", "restart"} {
		s.Answer("POST /containers/web/"+verb, 204, "")
		s.Answer("POST /containers/db/"+verb, 204, "")
		s.Answer("POST /containers/busy/"+verb, 409, `{"message":"container busy is not running"}`)
	}
	s.Answer("GET /containers/web/top", 200, `{"Titles":["UID","PID","CMD"],"Processes":[["root","1","sh -c 'x'"],["a-user-with-a-long-name","12","y"]]}`)
	s.Answer("POST /containers/web/update", 200, `{"Warnings":["one","two"]}`)
	s.Answer("POST /containers/db/update", 200, `{"Warnings":null}`)
	s.Answer("POST /containers/busy/update", 409, `{"message":"cannot update"}`)
	s.Answer("POST /containers/prune", 200, `{"ContainersDeleted":["a","b"],"SpaceReclaimed":123456}`)
	s.Answer("GET /containers/web/changes", 200, `[{"Path":"/dev","Kind":0},{"Path":"/new file","Kind":1},{"Path":"/gone","Kind":2}]`)
	s.Answer("GET /containers/db/changes", 200, `null`)
	s.Answer("GET /containers/web/export", 200, tarOf(entry("etc/", ""), entry("etc/x", "X")))
	s.Answer("POST /commit", 201, `{"Id":"sha256:abc"}`)
}

func verbLines() []spoken {
	var lines []spoken
	for _, words := range []string{
		"pause web", "container pause web busy", "pause busy", "pause", "unpause web", "container unpause busy web", "unpause",
		"restart web", "restart -s INT -t 3 web busy db", "container restart --timeout=-1 web", "restart --time 1 --timeout 2 web", "restart", "restart -t x web",
		"top web", "top web -eo pid,cmd", "container top web aux", "top gone", "top",
		"update -m 1g --memory-reservation 512m --memory-swap -1 --kernel-memory 1m web", "update --cpus 1.5 -c 3 db",
		"update --cpu-period 1 --cpu-quota 2 --cpu-rt-period 3 --cpu-rt-runtime 4 --cpuset-cpus 0 --cpuset-mems 1 --blkio-weight 10 db",
		"update --restart on-failure:3 web busy db gone", "update --pids-limit -1 db", "update --pids-limit 0 db", "container update --restart always db",
		"update db", "update", "update --restart on-failure:x db", "update -m x db", "update --shm-size 1 db",
		"container prune -f", "container prune --filter until=1h --filter label=a -f", "container prune -f x",
		"diff web", "container diff db", "diff gone", "diff",
		"export gone", "container export", "export web x",
		"commit web", "commit -a me -m 'a word' -c 'CMD x' --change 'ENV a=b' -p=false web repo:tag", "container commit web repo --odd", "commit web REPO", "commit",
	} {
		lines = append(lines, spoken{words: words, unordered: words == "container pause web busy" || words == "container unpause busy web"})
	}
	return append(lines,
		spoken{words: "container prune"},
		spoken{words: "container prune", in: "y\n"},
		spoken{words: "export web"},
		spoken{words: "export -o $DIR/file web", files: true},
		spoken{words: "container export -o $DIR/new web", files: true},
	)
}
