package commands_test

import "weft/commands/cmdtest"

func volumeAnswers(s *cmdtest.Server) {
	s.Answer("POST /volumes/create", 201, `{"Name":"v1","Driver":"local","Mountpoint":"/m","Scope":"local","Labels":{}}`)
	s.Answer("GET /volumes", 200, `{"Volumes":[
{"Name":"v10","Driver":"local","Mountpoint":"/m/v10","Scope":"local","Labels":{"tier":"front"},"UsageData":{"Size":123456,"RefCount":2}},
{"Name":"v9","Driver":"nfs","Mountpoint":"/m/v9","Scope":"global","Labels":null},
{"Name":"c1","Driver":"csi","Mountpoint":"","Scope":"global","ClusterVolume":{"ID":"x","Spec":{"Group":"g","Availability":"drain"},"PublishStatus":[{},{}],"Info":{"VolumeID":"i"}}},
{"Name":"c2","Driver":"csi","Mountpoint":"","Scope":"global","ClusterVolume":{"ID":"x","Spec":{}}}]}`)
	s.Answer("GET /volumes/v1", 200, `{"Name":"v1","Driver":"local","Mountpoint":"/m","Scope":"local","Labels":{"a":"b"},"Odd":1,"Options":null}`)
	s.Answer("DELETE /volumes/v1", 204, "")
	s.Answer("DELETE /volumes/busy", 409, `{"message":"remove busy: volume is in use - [c1]"}`)
	s.Answer("POST /volumes/prune", 200, `{"VolumesDeleted":["v1","v2"],"SpaceReclaimed":1234567}`)
}

func volumeLines() []spoken {
	return []spoken{
		{words: "volume create"},
		{words: "volume create v1"},
		{words: "volume create -d nfs -o a=b --opt c --label x=y --label z v1"},
		{words: "volume create --name v1"},
		{words: "volume create --name v1 v2"},
		{words: "volume create --label =x v"},
		{words: "volume ls"},
		{words: "volume list -q"},
		{words: "volume ls --format json"},
		{words: "volume ls --format raw"},
		{words: "volume ls -q --format raw"},
		{words: "volume ls --format '{{.Name}} {{.Size}} {{.Links}} {{.Status}} {{.Group}} {{.Availability}}'"},
		{words: `volume ls --format 'table {{.Name}}\t{{.Mountpoint}}\t{{.Label "tier"}}\t{{.Scope}}\t{{.Status}}'`},
		{words: "volume ls -f dangling=true --filter driver=local"},
		{words: "volume ls x"},
		{words: "volume inspect v1"},
		{words: "volume inspect v1 nope"},
		{words: "volume inspect -f '{{.Mountpoint}} {{.Labels.a}}' v1"},
		{words: "volume inspect -f '{{.Odd}}' v1"},
		{words: "volume inspect"},
		{words: "volume rm v1"},
		{words: "volume rm -f busy v1 nope"},
		{words: "volume rm"},
		{words: "volume prune"},
		{words: "volume prune", in: "y\n"},
		{words: "volume prune -a", in: "n\n"},
		{words: "volume prune -f -a --filter label=x"},
		{words: "volume prune -a --filter all=1"},
		{words: "volume prune -f x"},
		{words: "volume odd"},
	}
}
