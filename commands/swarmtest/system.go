package swarmtest

func (s *Swarm) ping(*call) (answer, error) {
	return answer{status: 200, text: "OK", header: map[string]string{
		"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache",
	}}, nil
}

func (s *Swarm) minAPI() string {
	if minor(s.cfg.api) >= 44 {
		return "1.24"
	}
	return "1.12"
}

func (s *Swarm) version(c *call) (answer, error) {
	details := object{"ApiVersion": s.cfg.api, "Arch": "amd64", "MinAPIVersion": s.minAPI(), "Os": "linux"}
	return ok(object{
		"Platform":   object{"Name": ""},
		"Components": []object{{"Name": "Engine", "Version": c.node.engine, "Details": details}},
		"Version":    c.node.engine, "ApiVersion": s.cfg.api, "MinAPIVersion": s.minAPI(), "GitCommit": "0000000",
		"GoVersion": "go1.19.8", "Os": "linux", "Arch": "amd64", "KernelVersion": "6.1.0", "BuildTime": "2024-01-01T00:00:00.000000000+00:00",
	}), nil
}

func (s *Swarm) info(c *call) (answer, error) {
	n := c.node
	var remote []object
	managers := 0
	for _, m := range s.nodes {
		if m.role == "manager" {
			managers++
			remote = append(remote, object{"NodeID": m.id, "Addr": managerAddr(m)})
		}
	}
	w := object{
		"NodeID": n.id, "NodeAddr": n.addr, "LocalNodeState": "active", "ControlAvailable": n.role == "manager", "Error": "",
		"RemoteManagers": remote,
	}
	if err := s.managing(n); n.role == "manager" && err != nil {
		w["Error"] = err.Error()
	} else if n.role == "manager" {
		w["Nodes"], w["Managers"], w["Cluster"] = len(s.nodes), managers, s.cluster()
	}
	return ok(object{
		"ID": hexID(n.id)[:12], "Name": n.hostname, "ServerVersion": n.engine, "OSType": "linux", "Architecture": "x86_64",
		"KernelVersion": "6.1.0", "OperatingSystem": "Debian GNU/Linux 12 (bookworm)", "NCPU": 2, "MemTotal": 4 << 30,
		"Driver": "overlay2", "Swarm": w, "Warnings": nil, "Labels": []string{},
		"Plugins": object{"Network": []string{"bridge", "host", "ipvlan", "macvlan", "null", "overlay"}, "Volume": []string{"local"}},
	}), nil
}

// cluster is the swarm as /info has it.
func (s *Swarm) cluster() object {
	m := meta{id: clusterID, version: 10, created: s.nodes[0].created, updated: s.nodes[0].created}
	o := m.json()
	o["Spec"] = object{
		"Name": "default", "Labels": object{}, "Orchestration": object{"TaskHistoryRetentionLimit": historyLimit},
		"Raft": object{
			"SnapshotInterval": 10000, "KeepOldSnapshots": 0, "LogEntriesForSlowFollowers": 500, "ElectionTick": 10, "HeartbeatTick": 1,
		},
		"Dispatcher": object{"HeartbeatPeriod": 5000000000}, "CAConfig": object{"NodeCertExpiry": 7776000000000000},
		"TaskDefaults": object{}, "EncryptionConfig": object{"AutoLockManagers": false},
	}
	o["TLSInfo"], o["RootRotationInProgress"] = tlsInfo(), false
	o["DefaultAddrPool"], o["SubnetSize"], o["DataPathPort"] = []string{s.cfg.pool}, s.cfg.subnetSize, 4789
	return o
}

const clusterID = "pgp7mrbj3j1gq90nyonosk1ya"

func (s *Swarm) inspectSwarm(*call) (answer, error) {
	o := s.cluster()
	o["JoinTokens"] = object{"Worker": "SWMTKN-1-worker", "Manager": "SWMTKN-1-manager"}
	return ok(o), nil
}

// events never has any.
func (s *Swarm) events(*call) (answer, error) { return answer{status: 200, stream: true}, nil }
