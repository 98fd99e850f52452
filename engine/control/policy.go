package control

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/engine/fault"
	"weft/engine/model"
)

// Labels of a service that say how the routing mesh serves it.
const (
	labelBind      = "weft.publish.bind"
	labelSource    = "weft.mesh.source"
	labelAlgorithm = "weft.mesh.algorithm"
	labelLocal     = "weft.mesh.local"
	labelIdle      = "weft.mesh.idle"
)

// maxIdle is what the kernel takes for a timeout of conntrack, about.
const maxIdle = 30 * 24 * time.Hour

// meshModel reads a service's labels. One that begins like these and is none,
// or has a value it can't have, is Invalid: it would silently do nothing.
func meshModel(labels map[string]string) (*model.Mesh, error) {
	m := &model.Mesh{}
	for key, value := range labels {
		if err := setMesh(m, key, value); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func setMesh(m *model.Mesh, key, value string) error {
	var err error
	switch key {
	case labelBind:
		m.Bind, err = binds(value)
	case labelSource:
		m.Masquerade, err = choice(value, "preserve", "masquerade")
	case labelAlgorithm:
		if !slices.Contains([]string{"roundrobin", "random", "source"}, value) {
			err = errors.New("use roundrobin, random or source")
		}
		m.Algorithm = value
	case labelLocal:
		m.Local, err = choice(value, "false", "true")
	case labelIdle:
		if m.Idle, err = time.ParseDuration(value); err != nil || m.Idle < time.Second || m.Idle > maxIdle {
			err = fmt.Errorf("use a time from 1s to %gh, such as 20m", maxIdle.Hours())
		}
	default:
		if strings.HasPrefix(key, "weft.mesh.") || strings.HasPrefix(key, "weft.publish.") {
			return fault.Invalid("label %s: there is no such label: use %s", key, strings.Join([]string{labelAlgorithm, labelIdle, labelLocal, labelSource, labelBind}, ", "))
		}
	}
	if err != nil {
		return fault.Invalid("label %s=%s: %w", key, value, err)
	}
	return nil
}

// choice is false for the first word and true for the second.
func choice(value, first, second string) (bool, error) {
	if value != first && value != second {
		return false, fmt.Errorf("use %s or %s", strconv.Quote(first), strconv.Quote(second))
	}
	return value == second, nil
}

// maxInterface is IFNAMSIZ less its NUL.
const maxInterface = 15

func binds(value string) ([]string, error) {
	list := strings.Split(value, ",")
	for _, b := range list {
		if _, err := netip.ParseAddr(b); err == nil {
			continue
		}
		if b == "" || len(b) > maxInterface || strings.ContainsAny(b, "/ :%") {
			return nil, errors.New("use addresses and interface names of hosts, separated by commas")
		}
	}
	return list, nil
}
