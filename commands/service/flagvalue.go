package service

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/swarm"
)

// optionalUint is a flag value that tells zero from not given.
type optionalUint struct{ value *uint64 }

func (u *optionalUint) Set(s string) error {
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return err
	}
	u.value = &v
	return nil
}

// Type is the word the help shows for the value.
func (*optionalUint) Type() string { return "uint" }

func (u *optionalUint) String() string {
	if u.value == nil {
		return ""
	}
	return strconv.FormatUint(*u.value, 10)
}

// ratio is a 32-bit fraction, the width SwarmKit stores.
type ratio float32

func (r *ratio) Set(s string) error {
	v, err := strconv.ParseFloat(s, 32)
	if err != nil {
		return err
	}
	*r = ratio(v)
	return nil
}

// Type is the word the help shows for the value.
func (*ratio) Type() string { return "float" }

func (r *ratio) String() string { return strconv.FormatFloat(float64(*r), 'g', -1, 32) }

// preferences collects --placement-pref values.
type preferences struct{ list []swarm.PlacementPreference }

func (p *preferences) Set(s string) error {
	strategy, descriptor, ok := strings.Cut(s, "=")
	if !ok || strategy == "" {
		return errors.New(`placement preference must be of the format "<strategy>=<arg>"`)
	}
	if strategy != "spread" {
		return fmt.Errorf("unsupported placement preference %s (only spread is supported)", strategy)
	}
	p.list = append(p.list, swarm.PlacementPreference{Spread: &swarm.SpreadOver{SpreadDescriptor: descriptor}})
	return nil
}

// Type is the word the help shows for the value.
func (*preferences) Type() string { return "pref" }

func (p *preferences) String() string {
	if len(p.list) == 0 {
		return ""
	}
	out := make([]string, 0, len(p.list))
	for _, pref := range p.list {
		out = append(out, "spread="+pref.Spread.SpreadDescriptor)
	}
	return fmt.Sprint(out)
}

// wordList is a command given as one string and split as a shell would.
type wordList []string

func (w *wordList) Set(s string) error {
	words, err := splitWords(s)
	if err != nil {
		return err
	}
	*w = words
	return nil
}

// Type is the word the help shows for the value.
func (*wordList) Type() string { return "command" }

func (w *wordList) String() string {
	if len(*w) == 0 {
		return ""
	}
	return fmt.Sprint([]string(*w))
}

// credentialSpec is a --credential-spec value. An empty one removes the
// credential spec of a service that is updated.
type credentialSpec struct {
	source string
	spec   *swarm.CredentialSpec
}

func (c *credentialSpec) Set(s string) error {
	spec := &swarm.CredentialSpec{}
	switch scheme, rest, _ := strings.Cut(s, "://"); {
	case s == "":
	case scheme == "config" && s != scheme:
		// The API wants the config's ID; resolveCredentialConfig replaces the name.
		spec.Config = rest
	case scheme == "file" && s != scheme:
		spec.File = rest
	case scheme == "registry" && s != scheme:
		spec.Registry = rest
	default:
		return errors.New(`invalid credential spec: value must be prefixed with "config://", "file://", or "registry://"`)
	}
	c.source, c.spec = s, spec
	return nil
}

// Type is the word the help shows for the value.
func (*credentialSpec) Type() string { return "credential-spec" }

func (c *credentialSpec) String() string { return c.source }

// configName is the name of the config a credential spec is read from, or
// empty.
func (c *credentialSpec) configName() string {
	if c.spec == nil {
		return ""
	}
	return c.spec.Config
}
