package cmdenv

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/docker/go-connections/tlsconfig"
	"github.com/spf13/pflag"
)

// Kind is the sort of engine a command talks to.
type Kind string

// The kinds of engine.
const (
	KindBuiltin Kind = "builtin" // weft's own
	KindDocker  Kind = "docker"  // dockerd
)

// options are the connection flags, which stand before the subcommand.
type options struct {
	configDir string
	debug     bool
	logLevel  string
	host      hostValue
	context   string
	engine    string

	tls       bool
	tlsVerify bool
	tlsFiles  tlsconfig.Options
	flags     *pflag.FlagSet
}

// hostValue is --host, which may be given once.
type hostValue struct {
	value string
	set   bool
}

func (h *hostValue) String() string { return h.value }
func (*hostValue) Type() string     { return "string" }

func (h *hostValue) Set(s string) error {
	if h.set {
		return errors.New("specify only one -H")
	}
	h.value, h.set = s, true
	return nil
}

// BindFlags adds the connection flags to the root command's flags. Their
// defaults come from the environment, as Docker's do.
func (e *Env) BindFlags(flags *pflag.FlagSet) {
	o := &e.opts
	o.flags = flags
	dir := defaultConfigDir(e.Getenv)
	certs := e.Getenv("DOCKER_CERT_PATH")
	if certs == "" {
		certs = dir
	}
	flags.StringVar(&o.configDir, "config", dir, "Location of client config files")
	flags.BoolVarP(&o.debug, "debug", "D", false, "Enable debug mode")
	flags.StringVarP(&o.logLevel, "log-level", "l", "info", `Set the logging level ("debug", "info", "warn", "error", "fatal")`)
	flags.VarP(&o.host, "host", "H", "Daemon socket to connect to")
	flags.StringVarP(&o.context, "context", "c", "",
		`Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with "docker context use")`)
	flags.StringVar(&o.engine, "engine", e.Getenv("WEFT_ENGINE"), `Engine to use ("builtin", "docker"; overrides WEFT_ENGINE env var; default: the one that answers)`)
	flags.BoolVar(&o.tls, "tls", e.Getenv("DOCKER_TLS") != "", "Use TLS; implied by --tlsverify")
	flags.BoolVar(&o.tlsVerify, "tlsverify", e.Getenv("DOCKER_TLS_VERIFY") != "", "Use TLS and verify the remote")
	flags.StringVar(&o.tlsFiles.CAFile, "tlscacert", filepath.Join(certs, "ca.pem"), "Trust certs signed only by this CA")
	flags.StringVar(&o.tlsFiles.CertFile, "tlscert", filepath.Join(certs, "cert.pem"), "Path to TLS certificate file")
	flags.StringVar(&o.tlsFiles.KeyFile, "tlskey", filepath.Join(certs, "key.pem"), "Path to TLS key file")
	if f := flags.Lookup("engine"); f != nil {
		f.DefValue = "" // the environment's value is not part of the help text
	}
}

// Check judges the connection flags together and sets the log level. It runs
// before any command does.
func (e *Env) Check() error {
	if e.opts.context != "" && e.opts.host.set {
		return errors.New("conflicting options: cannot specify both --host and --context")
	}
	switch Kind(e.opts.engine) {
	case "", KindBuiltin, KindDocker:
	default:
		return StatusError{Code: CodeUsage, Status: fmt.Sprintf("invalid engine %q: --engine (or WEFT_ENGINE) is builtin or docker", e.opts.engine)}
	}
	level, ok := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
		"warning": slog.LevelWarn, "error": slog.LevelError, "fatal": slog.LevelError, "": slog.LevelInfo,
	}[e.opts.logLevel]
	if !ok {
		return fmt.Errorf("Unable to parse logging level: %s", e.opts.logLevel) //nolint:staticcheck // Docker's wording
	}
	if e.opts.debug {
		level = slog.LevelDebug
	}
	e.level.Set(level)
	return nil
}

// tlsOptions gives the TLS files to use, nil without TLS. Mentioning
// --tlsverify at all turns TLS on, whatever its value; default certificate and
// key files that do not exist are left out.
func (o *options) tlsOptions() *tlsconfig.Options {
	if !o.tls && !o.tlsVerify && !o.changed("tlsverify") {
		return nil
	}
	files := o.tlsFiles
	files.InsecureSkipVerify = !o.tlsVerify
	if !o.changed("tlscert") && missing(files.CertFile) {
		files.CertFile = ""
	}
	if !o.changed("tlskey") && missing(files.KeyFile) {
		files.KeyFile = ""
	}
	return &files
}

// Invocation gives the words by which another command of this program speaks
// to the same engine: its name and the connection flags that were given.
func (e *Env) Invocation() []string {
	words := []string{Program}
	if e.opts.flags == nil {
		return words
	}
	for _, name := range []string{"host", "context", "engine", "config", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey"} {
		if e.opts.changed(name) {
			words = append(words, "--"+name+"="+e.opts.flags.Lookup(name).Value.String())
		}
	}
	return words
}

func (o *options) changed(flag string) bool { return o.flags != nil && o.flags.Changed(flag) }

func missing(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err)
}
