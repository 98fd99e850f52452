package dockerapi

import "slices"

// What is missing, for the endpoints that need it.
const (
	noCommit      = "this engine does not make images of containers: build on a Docker engine"
	noBuild       = "this engine does not build images: build on a Docker engine"
	noCluster     = "this engine has no cluster volumes, and only those can be updated"
	noPlugins     = "this engine has no plugins"
	noSecrets     = "this engine does not hand secrets to tasks"
	noPause       = "this engine does not pause containers"
	noUpdate      = "this engine does not change the limits of containers that are there: make the container anew"
	noTop         = "this engine does not list the processes of containers: use exec and ps"
	noUsage       = "this engine does not add up what it has on its disk"
	noChanges     = "this engine does not compare a container's files with its image's"
	noCheckpoint  = "this engine does not checkpoint containers"
	noRegistry    = "this engine does not search registries or log in to them: the credentials that docker login keeps are sent with each pull"
	noPush        = "this engine does not push images: push from a Docker engine"
	noWebsocket   = "this engine does not attach by websocket: use POST /containers/{name}/attach"
	noServiceLogs = "this engine does not collect logs across nodes: use the logs of the task's container on its node"
	noDebug       = "this engine has no debug endpoints"
)

// routes is every endpoint of dockerd 28.5.2 (api/server/router).
func routes() []route {
	return slices.Concat(
		systemRoutes(), swarmRoutes(), networkRoutes(), containerRoutes(), imageRoutes(),
		lacking(noBuild, "POST /build", "POST /build/prune", "POST /build/cancel", "POST /session", "POST /grpc"),
		volumeRoutes(),
		lacking(noPlugins, "GET /plugins", "GET /plugins/{name...}/json", "GET /plugins/privileges", "DELETE /plugins/{name...}",
			"POST /plugins/{name...}/enable", "POST /plugins/{name...}/disable", "POST /plugins/pull", "POST /plugins/{name...}/push",
			"POST /plugins/{name...}/upgrade", "POST /plugins/{name...}/set", "POST /plugins/create"),
		lacking(noDebug, "GET /debug/vars", "GET /debug/pprof", "GET /debug/pprof/{name}"),
	)
}

func systemRoutes() []route {
	return append([]route{
		get("/_ping", (*Server).ping).but("`Builder-Version` is 1, `Weft-Api-Version` announces `/weft/v1/`"),
		{"HEAD", "/_ping", (*Server).ping, differs, "`Builder-Version` is 1, `Weft-Api-Version` announces `/weft/v1/`"},
		get("/version", (*Server).version).but("one component, the engine"),
		get("/info", (*Server).info),
		get("/events", (*Server).events),
	}, lacking(noUsage, "GET /system/df")...)
}

func swarmRoutes() []route {
	return slices.Concat([]route{
		post("/swarm/init", (*Server).swarmInit),
		post("/swarm/join", (*Server).swarmJoin),
		post("/swarm/leave", (*Server).swarmLeave),
		get("/swarm", (*Server).swarmInspect),
		get("/swarm/unlockkey", (*Server).swarmUnlockKey),
		post("/swarm/update", (*Server).swarmUpdate),
		post("/swarm/unlock", (*Server).swarmUnlock),
		get("/services", (*Server).services),
		post("/services/create", (*Server).serviceCreate).but("no digest is looked up for the image, at any API version"),
		get("/services/{id}", (*Server).service),
		post("/services/{id}/update", (*Server).serviceUpdate).but("no digest is looked up for the image, at any API version"),
		del("/services/{id}", (*Server).serviceRemove),
		get("/nodes", (*Server).nodes),
		get("/nodes/{id}", (*Server).node),
		del("/nodes/{id}", (*Server).nodeRemove),
		post("/nodes/{id}/update", (*Server).nodeUpdate),
		get("/tasks", (*Server).tasks),
		get("/tasks/{id}", (*Server).task),
		get("/configs", (*Server).configs),
		post("/configs/create", (*Server).configCreate).but("no task of this engine is given a config: one whose service refers to one is rejected"),
		del("/configs/{id}", (*Server).configRemove),
		get("/configs/{id}", (*Server).config),
		post("/configs/{id}/update", (*Server).configUpdate),
	},
		lacking(noServiceLogs, "GET /services/{id}/logs", "GET /tasks/{id}/logs"),
		lacking(noSecrets, "GET /secrets", "POST /secrets/create", "DELETE /secrets/{id}", "GET /secrets/{id}", "POST /secrets/{id}/update"),
	)
}

func networkRoutes() []route {
	return []route{
		get("/networks", (*Server).networks),
		get("/networks/{id...}", (*Server).network).but("shows the endpoints of all nodes, not only of this one"),
		post("/networks/create", (*Server).networkCreate),
		post("/networks/prune", (*Server).networksPrune),
		post("/networks/{id...}/connect", (*Server).networkConnect),
		post("/networks/{id...}/disconnect", (*Server).networkDisconnect),
		del("/networks/{id...}", (*Server).networkRemove),
	}
}

func containerRoutes() []route {
	return slices.Concat([]route{
		get("/containers/json", (*Server).containers).but("sizes are always 0"),
		post("/containers/create", (*Server).containerCreate).but("what the engine can't do is refused with 501, all of it in one answer"),
		post("/containers/prune", (*Server).containersPrune).but("`SpaceReclaimed` is always 0"),
		get("/containers/{name...}/json", (*Server).container).but("no storage, security and host-path fields"),
		get("/containers/{name...}/logs", (*Server).containerLogs).but("`details` adds nothing: there are no log attributes"),
		post("/containers/{name...}/start", (*Server).containerStart).but("no checkpoints"),
		post("/containers/{name...}/stop", (*Server).containerStop),
		post("/containers/{name...}/restart", (*Server).containerRestart).but("refused for containers that are removed when they end"),
		post("/containers/{name...}/kill", (*Server).containerKill),
		post("/containers/{name...}/wait", (*Server).containerWait),
		post("/containers/{name...}/rename", (*Server).containerRename),
		post("/containers/{name...}/attach", (*Server).containerAttach),
		post("/containers/{name...}/resize", (*Server).containerResize),
		post("/containers/{name...}/exec", (*Server).execCreate),
		get("/exec/{id}/json", (*Server).execInspect).but("`Pid` is always 0"),
		post("/exec/{name}/start", (*Server).execStart),
		post("/exec/{name}/resize", (*Server).execResize),
		{"HEAD", "/containers/{name...}/archive", (*Server).pathStat, same, ""},
		get("/containers/{name...}/archive", (*Server).pathRead).but("is never compressed"),
		{"PUT", "/containers/{name...}/archive", (*Server).pathWrite, same, ""},
		get("/containers/{name...}/stats", (*Server).containerStats),
		get("/containers/{name...}/export", (*Server).containerExport),
		del("/containers/{name...}", (*Server).containerRemove).but("no links"),
	},
		lacking(noWebsocket, "GET /containers/{name...}/attach/ws"),
		lacking(noChanges, "GET /containers/{name...}/changes"),
		lacking(noTop, "GET /containers/{name...}/top"),
		lacking(noUpdate, "POST /containers/{name...}/update"),
		lacking(noPause, "POST /containers/{name...}/pause", "POST /containers/{name...}/unpause"),
		lacking(noCheckpoint, "GET /containers/{name...}/checkpoints", "POST /containers/{name...}/checkpoints",
			"DELETE /containers/{name}/checkpoints/{checkpoint}"),
		lacking(noCommit, "POST /commit"),
	)
}

func volumeRoutes() []route {
	return append([]route{
		get("/volumes", (*Server).volumes),
		get("/volumes/{name...}", (*Server).volume),
		post("/volumes/create", (*Server).volumeCreate).but("driver `local` only, without quotas and network file systems; no cluster volumes"),
		post("/volumes/prune", (*Server).volumesPrune),
		del("/volumes/{name...}", (*Server).volumeRemove),
	}, lacking(noCluster, "PUT /volumes/{name...}")...)
}

func imageRoutes() []route {
	return slices.Concat([]route{
		get("/images/json", (*Server).images).but("no `Manifests`; `SharedSize` is always -1"),
	},
		lacking(noRegistry, "GET /images/search"),
		[]route{
			get("/images/get", (*Server).imageSave),
			get("/images/{name...}/get", (*Server).imageSave),
			get("/images/{name...}/history", (*Server).imageHistory).but("sizes are given for the whole image, not for its layers"),
			get("/images/{name...}/json", (*Server).image).but("no `GraphDriver`, `Metadata` and `Manifests`"),
			post("/images/create", (*Server).imageCreate).but("imports from the request only, not from a URL"),
			get("/distribution/{name...}/json", (*Server).distribution).but("`Platforms` is always empty"),
			post("/images/load", (*Server).imageLoad),
			post("/images/{name...}/tag", (*Server).imageTag),
			post("/images/prune", (*Server).imagesPrune),
			del("/images/{name...}", (*Server).imageRemove).but("parents are always removed: there are none without a name of their own"),
		},
		lacking(noPush, "POST /images/{name...}/push"),
		lacking(noRegistry, "POST /auth"),
	)
}
