package commands_test

import (
	"fmt"

	"weft/commands/cmdtest"
)

// sample is what the API tells of a container's use.
func sample(name, more string) string {
	return fmt.Sprintf(`{"id":"%s0123456789abcdef","name":"/%s"%s}`, name, name, more) + "\n"
}

func statsAnswers(s *cmdtest.Server) {
	s.Answer("GET /containers/json", 200, `[{"Id":"0123456789ab"}]`)
	s.Answer("GET /events", 200, "")
	busy := sample("web", `,
"cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":1000,"online_cpus":4},
"precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":200},
"memory_stats":{"usage":5000000,"limit":1073741824,"stats":{"inactive_file":1000000}},
"pids_stats":{"current":7},
"networks":{"eth0":{"rx_bytes":1234,"tx_bytes":56},"eth1":{"rx_bytes":1000000,"tx_bytes":1}},
"blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":4096},{"op":"write","value":8192},{"op":"","value":1},{"op":"Sync","value":3}]}`)
	s.Answer("GET /containers/web/stats", 200, busy)
	s.Answer("GET /containers/0123456789ab/stats", 200, busy)
	s.Answer("GET /containers/old/stats", 200, sample("old", `,
"cpu_stats":{"cpu_usage":{"total_usage":300,"percpu_usage":[1,2]},"system_cpu_usage":1000},
"memory_stats":{"usage":5000000,"limit":0,"stats":{"total_inactive_file":4000000,"inactive_file":1}}`))
	s.Answer("GET /containers/none/stats", 200, `{"id":"x","name":""}`)
}

func statsLines() []spoken {
	var lines []spoken
	for _, words := range []string{
		"stats --no-stream web", "stats --no-stream old", "stats --no-stream none", "container stats --no-stream --no-trunc web",
		"stats --no-stream --format json web", "stats --no-stream", "stats --no-stream -a --format '{{.Name}} {{.Container}} {{.CPUPerc}}'",
		`stats --no-stream --format 'table {{.Container}}\t{{.MemPerc}}\t{{.PIDs}}' web`, "stats --no-stream --format '{{.Nope}}' web",
		"stats --no-stream gone", "stats gone", "stats --no-stream web web", "stats --no-stream --format '{{' web", "stats --odd",
	} {
		lines = append(lines, spoken{words: words})
	}
	return append(lines, spoken{words: "stats --no-stream web gone nope", unordered: true})
}
