package swarm

import (
	"encoding/csv"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/complete"
)

// defaultListenAddr is where managers listen for the swarm.
const defaultListenAddr = "0.0.0.0:2377"

// addrValue is an address with a port; parts left out are those of the default.
type addrValue struct{ addr string }

func (a *addrValue) String() string { return strings.TrimPrefix(a.addr, "tcp://") }
func (*addrValue) Type() string     { return "node-addr" }

func (a *addrValue) Set(value string) error {
	addr, err := opts.ParseTCPAddr(value, a.addr)
	if err != nil {
		return err
	}
	a.addr = addr
	return nil
}

// externalCAValue is a list of certificate signing endpoints, as
// protocol=cfssl,url=https://example.com.
type externalCAValue struct{ list []*swarm.ExternalCA }

func (*externalCAValue) Type() string { return "external-ca" }

func (v *externalCAValue) String() string {
	texts := make([]string, 0, len(v.list))
	for _, ca := range v.list {
		texts = append(texts, fmt.Sprintf("%s: %s", ca.Protocol, ca.URL))
	}
	return strings.Join(texts, ", ")
}

func (v *externalCAValue) Set(value string) error {
	ca, err := parseExternalCA(value)
	if err != nil {
		return err
	}
	v.list = append(v.list, ca)
	return nil
}

func parseExternalCA(value string) (*swarm.ExternalCA, error) {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return nil, err
	}
	ca := &swarm.ExternalCA{Options: map[string]string{}}
	for _, field := range fields {
		key, val, ok := strings.Cut(field, "=")
		if !ok {
			return nil, fmt.Errorf("invalid field '%s' must be a key=value pair", field)
		}
		switch strings.ToLower(key) {
		case "protocol":
			if !strings.EqualFold(val, string(swarm.ExternalCAProtocolCFSSL)) {
				return nil, fmt.Errorf("unrecognized external CA protocol %s", val)
			}
			ca.Protocol = swarm.ExternalCAProtocolCFSSL
		case "url":
			ca.URL = val
		case "cacert":
			if ca.CACert, err = readPEM(val); errors.Is(err, errNotPEM) {
				return nil, errors.New("CA cert for external CA must be in PEM format")
			} else if err != nil {
				return nil, fmt.Errorf("unable to read CA cert for external CA: %w", err)
			}
		default:
			ca.Options[key] = val
		}
	}
	switch {
	case ca.Protocol == "":
		return nil, errors.New("the external-ca option needs a protocol= parameter")
	case ca.URL == "":
		return nil, errors.New("the external-ca option needs a url= parameter")
	}
	return ca, nil
}

var errNotPEM = errors.New("file contents must be in PEM format")

func readPEM(path string) (string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return "", err
	}
	if block, _ := pem.Decode(data); block == nil {
		return "", errNotPEM
	}
	return string(data), nil
}

// pemValue is a PEM file, read when the flag is parsed.
type pemValue struct{ path, contents string }

func (p *pemValue) String() string { return p.path }
func (*pemValue) Type() string     { return "pem-file" }

func (p *pemValue) Set(path string) error {
	contents, err := readPEM(path)
	if err != nil {
		return err
	}
	p.path, p.contents = path, contents
	return nil
}

// caOptions are the settings of a swarm's certificates.
type caOptions struct {
	certExpiry time.Duration
	externalCA externalCAValue
}

func (o *caOptions) bind(flags *pflag.FlagSet) {
	const quarter = 90 * 24 * time.Hour
	flags.DurationVar(&o.certExpiry, "cert-expiry", quarter, "Validity period for node certificates (ns|us|ms|s|m|h)")
	flags.Var(&o.externalCA, "external-ca", "Specifications of one or more certificate signing endpoints")
}

// apply changes in spec what the flags name. External CAs without a
// certificate of their own get rootCert.
func (o *caOptions) apply(spec *swarm.Spec, flags *pflag.FlagSet, rootCert string) {
	if flags.Changed("cert-expiry") {
		spec.CAConfig.NodeCertExpiry = o.certExpiry
	}
	if !flags.Changed("external-ca") {
		return
	}
	spec.CAConfig.ExternalCAs = o.externalCA.list
	for _, ca := range spec.CAConfig.ExternalCAs {
		if ca.CACert == "" {
			ca.CACert = rootCert
		}
	}
}

// specOptions are the settings of a swarm that init and update share.
type specOptions struct {
	caOptions
	taskHistoryLimit    int64
	dispatcherHeartbeat time.Duration
	maxSnapshots        uint64
	snapshotInterval    uint64
	autolock            bool
}

func (o *specOptions) bind(flags *pflag.FlagSet, autolockUsage string) {
	flags.Int64Var(&o.taskHistoryLimit, "task-history-limit", 5, "Task history retention limit")
	flags.DurationVar(&o.dispatcherHeartbeat, "dispatcher-heartbeat", 5*time.Second, "Dispatcher heartbeat period (ns|us|ms|s|m|h)")
	flags.Uint64Var(&o.maxSnapshots, "max-snapshots", 0, "Number of additional Raft snapshots to retain")
	flags.Uint64Var(&o.snapshotInterval, "snapshot-interval", 10000, "Number of log entries between Raft snapshots")
	flags.BoolVar(&o.autolock, "autolock", false, autolockUsage)
	o.caOptions.bind(flags)
}

func (o *specOptions) apply(spec *swarm.Spec, flags *pflag.FlagSet, rootCert string) {
	if flags.Changed("task-history-limit") {
		spec.Orchestration.TaskHistoryRetentionLimit = &o.taskHistoryLimit
	}
	if flags.Changed("dispatcher-heartbeat") {
		spec.Dispatcher.HeartbeatPeriod = o.dispatcherHeartbeat
	}
	if flags.Changed("max-snapshots") {
		spec.Raft.KeepOldSnapshots = &o.maxSnapshots
	}
	if flags.Changed("snapshot-interval") {
		spec.Raft.SnapshotInterval = o.snapshotInterval
	}
	if flags.Changed("autolock") {
		spec.EncryptionConfig.AutoLockManagers = o.autolock
	}
	o.caOptions.apply(spec, flags, rootCert)
}

// addressOptions are what init and join share: where this node listens and
// what it tells the others.
type addressOptions struct {
	listen       addrValue
	advertise    string // no default port
	dataPath     string
	availability string
}

func newAddressOptions() addressOptions { return addressOptions{listen: addrValue{defaultListenAddr}} }

func (o *addressOptions) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&o.listen, "listen-addr", `Listen address (format: "<ip|interface>[:port]")`)
	flags.StringVar(&o.advertise, "advertise-addr", "", `Advertised address (format: "<ip|interface>[:port]")`)
	flags.StringVar(&o.dataPath, "data-path-addr", "", `Address or interface to use for data path traffic (format: "<ip|interface>")`)
	flags.StringVar(&o.availability, "availability", "active", `Availability of the node ("active", "pause", "drain")`)
	_ = cmd.RegisterFlagCompletionFunc("availability", complete.Words("active", "pause", "drain"))
}
