package swarmtest

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
)

// configObject is a swarm config.
type configObject struct {
	meta
	spec object
}

func (o *configObject) name() string { return str(o.spec, "Name") }

func (o *configObject) json() object {
	j := o.meta.json()
	j["Spec"] = o.spec
	return j
}

func configSpec(c *call) (object, error) {
	spec, err := decode(c.body)
	if err != nil {
		return nil, badRequest("%s", err)
	}
	if _, err := base64.StdEncoding.DecodeString(str(spec, "Data")); err != nil {
		return nil, badRequest("%s", err)
	}
	setDefault(spec, "Labels", object{})
	return spec, nil
}

func (s *Swarm) createConfig(c *call) (answer, error) {
	spec, err := configSpec(c)
	if err != nil {
		return answer{}, err
	}
	if err := validateName(str(spec, "Name")); err != nil {
		return answer{}, err
	}
	if size := len(str(spec, "Data")) * 3 / 4; size == 0 || size >= 1024000 {
		return answer{}, grpc("InvalidArgument", "config data must be larger than 0 and less than 1024000 bytes")
	}
	if slices.ContainsFunc(s.configs, func(o *configObject) bool { return o.name() == str(spec, "Name") }) {
		return answer{}, grpc("AlreadyExists", "config %s already exists", str(spec, "Name"))
	}
	o := &configObject{meta: s.newMeta(), spec: spec}
	s.configs = append(s.configs, o)
	return answer{status: 201, body: object{"ID": o.id}}, nil
}

// validateName checks a name as SwarmKit does for configs.
func validateName(name string) error {
	switch {
	case name == "":
		return grpc("InvalidArgument", "name must be provided")
	case len(name) > 64 || !regexp.MustCompile(`^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`).MatchString(name):
		return grpc("InvalidArgument", "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, "+
			"and the start and end character must be [a-zA-Z0-9]")
	default:
		return nil
	}
}

func (s *Swarm) listConfigs(c *call) (answer, error) {
	f, err := c.filters("id", "label", "name", "names")
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for _, o := range s.configs {
		if f.prefix("id", o.id) && f.prefix("name", o.name()) && f.is("names", o.name()) && f.labels("label", stringMap(o.spec, "Labels")) {
			list = append(list, o.json())
		}
	}
	return ok(list), nil
}

func (s *Swarm) config(term string) (*configObject, error) {
	return find(s.configs, term, "config", func(o *configObject) (string, string) { return o.id, o.name() })
}

func (s *Swarm) inspectConfig(c *call) (answer, error) {
	o, err := s.config(c.id)
	if err != nil {
		return answer{}, err
	}
	return ok(o.json()), nil
}

func (s *Swarm) updateConfig(c *call) (answer, error) {
	spec, err := configSpec(c)
	if err != nil {
		return answer{}, err
	}
	version, err := strconv.ParseUint(c.query.Get("version"), 10, 64)
	if err != nil {
		return answer{}, badRequest("invalid config version")
	}
	o, err := s.config(c.id)
	if err != nil {
		return answer{}, err
	}
	if str(spec, "Name") != o.name() || str(spec, "Data") != str(o.spec, "Data") {
		return answer{}, grpc("InvalidArgument", "only updates to Labels are allowed")
	}
	if version != o.version {
		return answer{}, outOfSequence()
	}
	o.spec = spec
	s.touch(&o.meta)
	return answer{status: 200}, nil
}

func (s *Swarm) removeConfig(c *call) (answer, error) {
	o, err := s.config(c.id)
	if err != nil {
		return answer{}, err
	}
	s.configs = slices.DeleteFunc(s.configs, func(p *configObject) bool { return p == o })
	s.index++
	return answer{status: 204}, nil
}

// outOfSequence is how SwarmKit refuses a change of what was changed since.
func outOfSequence() error { return grpc("Unknown", "update out of sequence") }
