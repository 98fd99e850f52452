package enginecmd

import (
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine"
)

// runOptions are the flags of an engine, of `run`, `start` and `unit` alike.
type runOptions struct {
	dataDir, runDir string
	listen          []string
	dataPathAddr    string
	dataPathPort    uint32
	pools           []string
	poolMask        uint32
	runtime         string
	containerd      string
	bridge          string
	bridgeIP        string
	cgroupParent    string
}

func (o *runOptions) bind(cmd *cobra.Command, env *cmdenv.Env) {
	addDataDir(cmd, env, &o.dataDir)
	addRunDir(cmd, env, &o.runDir)
	f := cmd.Flags()
	f.StringArrayVar(&o.listen, "listen", nil, "Socket to serve the API on, as unix:///path (default unix://RUN-DIR/engine.sock)")
	f.StringVar(&o.dataPathAddr, "data-path-addr", "", "Address or interface for VXLAN (default the swarm's advertise address)")
	f.Uint32Var(&o.dataPathPort, "data-path-port", 0, "UDP port of VXLAN in a swarm initialized here, 1024 to 49151 (default 4789)")
	f.StringArrayVar(&o.pools, "default-addr-pool", nil, "Pool of a swarm initialized here to cut subnets from, as 10.0.0.0/8 (may be given several times)")
	f.StringVar(&o.runtime, "runtime", engine.RuntimeAuto, "What runs new containers: containerd, embedded, or auto (containerd if it answers)")
	f.StringVar(&o.containerd, "containerd", "", "Socket of containerd (default /run/containerd/containerd.sock)")
	f.StringVar(&o.bridge, "bridge", engine.DefaultBridge, "Device of the default bridge network")
	f.StringVar(&o.bridgeIP, "bip", "", "Its address and subnet, as in 172.17.0.1/16 (default one that is free)")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", "Cgroup to make the containers' in (default /weft)")
	f.Uint32Var(&o.poolMask, "default-addr-pool-mask-length", 0, "Prefix length of the subnets cut from the pools (default 24)")
}

// config turns the flags into an engine's configuration, except for what the
// process has to add.
func (o *runOptions) config() (engine.Config, error) {
	cfg := engine.Config{
		DataDir: o.dataDir, RunDir: o.runDir, Listen: o.listen,
		DataPathAddr: o.dataPathAddr, DataPathPort: o.dataPathPort, SubnetSize: o.poolMask, Bridge: o.bridge, CgroupParent: o.cgroupParent,
		Runtime: o.runtime, Containerd: o.containerd,
	}
	if o.bridgeIP != "" {
		p, err := netip.ParsePrefix(o.bridgeIP)
		if err != nil {
			return cfg, cmdenv.StatusError{Code: cmdenv.CodeUsage, Status: "--bip " + strconv.Quote(o.bridgeIP) + ": must be an address with its prefix length, as in 172.17.0.1/16"}
		}
		cfg.BridgeIP = p
	}
	for _, s := range o.pools {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return cfg, cmdenv.StatusError{Code: cmdenv.CodeUsage, Status: "--default-addr-pool " + strconv.Quote(s) + ": must be a prefix, as in 10.0.0.0/8"}
		}
		cfg.DefaultAddrPool = append(cfg.DefaultAddrPool, p.Masked())
	}
	return cfg, nil
}

// args gives the command line of `weft engine run` that means the same.
func (o *runOptions) args() []string {
	args := []string{"engine", "run", "--data-dir", o.dataDir, "--run-dir", o.runDir}
	for _, l := range o.listen {
		args = append(args, "--listen", l)
	}
	if o.bridge != engine.DefaultBridge {
		args = append(args, "--bridge", o.bridge)
	}
	if o.cgroupParent != "" {
		args = append(args, "--cgroup-parent", o.cgroupParent)
	}
	if o.bridgeIP != "" {
		args = append(args, "--bip", o.bridgeIP)
	}
	if o.dataPathAddr != "" {
		args = append(args, "--data-path-addr", o.dataPathAddr)
	}
	if o.dataPathPort != 0 {
		args = append(args, "--data-path-port", strconv.FormatUint(uint64(o.dataPathPort), 10))
	}
	for _, p := range o.pools {
		args = append(args, "--default-addr-pool", p)
	}
	if o.poolMask != 0 {
		args = append(args, "--default-addr-pool-mask-length", strconv.FormatUint(uint64(o.poolMask), 10))
	}
	if o.runtime != engine.RuntimeAuto {
		args = append(args, "--runtime", o.runtime)
	}
	if o.containerd != "" {
		args = append(args, "--containerd", o.containerd)
	}
	return args
}
