package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"weft/engine/fault"
)

// Up makes a lab and returns when all its hosts are up. When that fails, or
// ctx ends, it leaves nothing behind.
func Up(ctx context.Context, cfg Config) (*Lab, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	st, err := plan(cfg)
	if err != nil {
		return nil, err
	}
	if err := RequireRoot(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o755); err != nil { //nolint:gosec // `lab ls` needs no root
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	l, err := create(cfg)
	if err != nil {
		return nil, err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, errors.Join(err, os.Remove(l.dir))
	}
	defer unlock()
	if err := l.build(ctx, cfg, st); err != nil {
		return nil, errors.Join(err, l.remove(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// plan gives the lab's hosts and addresses.
func plan(cfg Config) (state, error) {
	v4, v6, err := subnets(cfg.Name, cfg.Subnets)
	if err != nil {
		return state{}, err
	}
	st := state{MTU: cfg.MTU, Subnet: v4, Subnet6: v6}
	for n := range cfg.Hosts {
		if err := st.add(hostLabel(n + 1)); err != nil {
			return state{}, err
		}
	}
	return st, nil
}

// add appends a host with the next addresses.
func (st *state) add(name string) error {
	n := len(st.Hosts) + 1
	addr, err := nth(st.Subnet, n)
	if err != nil {
		return err
	}
	addr6, err := nth(st.Subnet6, n)
	if err != nil {
		return err
	}
	st.Hosts = append(st.Hosts, Host{Name: name, Addr: addr, Addr6: addr6})
	return nil
}

// create makes the lab's directory, which only one of several can.
func create(cfg Config) (*Lab, error) {
	dir, err := checkPlace(cfg.StateDir, cfg.Name)
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: cfg.Name, dir: dir, self: cfg.Self, ready: cfg.ReadyTimeout}
	inits, err := findInits(dir)
	if err != nil {
		return nil, err
	}
	if len(inits) == 0 {
		err = os.Mkdir(dir, 0o755) //nolint:gosec // `lab ls` needs no root
	} else {
		err = fs.ErrExist // hosts without a directory: somebody removed it
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.Conflict("lab %s exists already: remove it with `weft lab down --name %[1]s`, or choose another --name", cfg.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("make lab %s: %w", cfg.Name, err)
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context, cfg Config, st state) error {
	for i := range st.Hosts {
		h := &st.Hosts[i]
		h.dir = filepath.Join(l.dir, h.Name)
		if cfg.Boot != nil {
			h.Boot = cfg.Boot(*h)
		}
	}
	if err := l.save(st); err != nil {
		return err
	}
	if err := l.ensureUnderlay(st.MTU); err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, h := range st.Hosts {
		all.Go(func() error { return l.boot(ctx, h, st.MTU) })
	}
	return all.Wait() //nolint:wrapcheck // boot names the host
}

// AddHost adds a host to a lab and returns when it is up. boot says what it
// runs; nil: nothing. When that fails the lab is as before.
func (l *Lab) AddHost(ctx context.Context, name string, boot func(Host) Boot) (Host, error) {
	if !hostName.MatchString(name) {
		return Host{}, fault.Invalid("invalid host name %q: up to 14 lower-case letters, digits and -, the first a letter", name)
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return Host{}, err
	}
	defer unlock()
	before, err := l.load()
	if err != nil {
		return Host{}, err
	}
	after := before
	after.Hosts = slices.Clone(before.Hosts)
	if slices.ContainsFunc(after.Hosts, func(h Host) bool { return h.Name == name }) {
		return Host{}, fault.Conflict("lab %s has a host %s already", l.Name, name)
	}
	if err := after.add(name); err != nil {
		return Host{}, err
	}
	h := &after.Hosts[len(after.Hosts)-1]
	h.dir = filepath.Join(l.dir, name)
	if boot != nil {
		h.Boot = boot(*h)
	}
	err = errors.Join(l.save(after), l.ensureUnderlay(after.MTU))
	if err == nil {
		err = l.boot(ctx, *h, after.MTU)
	}
	if err != nil {
		return Host{}, errors.Join(err, l.save(before), os.RemoveAll(h.dir))
	}
	return *h, nil
}
