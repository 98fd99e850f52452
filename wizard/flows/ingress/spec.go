package ingress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Port is a published port of a service, in Docker's JSON.
type Port struct {
	Name          string `json:"Name,omitempty"`
	Protocol      string `json:"Protocol,omitempty"` // tcp, udp, sctp
	TargetPort    uint32 `json:"TargetPort,omitempty"`
	PublishedPort uint32 `json:"PublishedPort,omitempty"` // 0: the engine chooses
	PublishMode   string `json:"PublishMode,omitempty"`   // ingress, host; empty is ingress
}

// Ingress says that the port is published on every node through the mesh.
func (p Port) Ingress() bool { return p.PublishMode != "host" }

func (p Port) String() string {
	mode := ""
	if !p.Ingress() {
		mode = " on the task's node"
	}
	published := "a port the engine chooses"
	if p.PublishedPort != 0 {
		published = strconv.Itoa(int(p.PublishedPort))
	}
	return fmt.Sprintf("%s/%s%s", published, p.Protocol, mode)
}

// object is JSON whose members are left as they are.
type object map[string]json.RawMessage

// parse reads an object; nothing and null are an empty one.
func parse(text json.RawMessage) (object, error) {
	o := object{}
	if len(text) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, err
	}
	if o == nil {
		o = object{}
	}
	return o, nil
}

// put sets a member, or takes it away.
func (o object) put(key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	o[key] = text
	return nil
}

// ports gives the published ports of an endpoint spec, with the raw form of
// each.
func ports(endpoint json.RawMessage) ([]Port, []json.RawMessage, error) {
	o, err := parse(endpoint)
	if err != nil {
		return nil, nil, err
	}
	var raw []json.RawMessage
	if text := o["Ports"]; text != nil {
		if err := json.Unmarshal(text, &raw); err != nil {
			return nil, nil, err
		}
	}
	list := make([]Port, len(raw))
	for i, text := range raw {
		if err := json.Unmarshal(text, &list[i]); err != nil {
			return nil, nil, err
		}
	}
	return list, raw, nil
}

// Ports gives the published ports of a service's spec.
func Ports(spec json.RawMessage) ([]Port, error) {
	o, err := parse(spec)
	if err != nil {
		return nil, fmt.Errorf("read service spec: %w", err)
	}
	list, _, err := ports(o["EndpointSpec"])
	if err != nil {
		return nil, fmt.Errorf("read service spec: %w", err)
	}
	return list, nil
}

// Published gives those of them that need the ingress network.
func Published(spec json.RawMessage) ([]Port, error) {
	list, err := Ports(spec)
	return slices.DeleteFunc(list, func(p Port) bool { return !p.Ingress() }), err
}

// Words gives ports as a list to read.
func Words(ports []Port) string {
	var words []string
	for _, p := range ports {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}

// detach gives a spec without the ports that need the ingress network, and if
// asked to without replicas.
func detach(spec json.RawMessage, toZero bool) (json.RawMessage, error) {
	o, err := parse(spec)
	if err != nil {
		return nil, err
	}
	if o["EndpointSpec"], err = withoutIngress(o["EndpointSpec"]); err != nil {
		return nil, err
	}
	if toZero {
		if o["Mode"], err = withoutReplicas(o["Mode"]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(o)
}

func withoutIngress(endpoint json.RawMessage) (json.RawMessage, error) {
	o, err := parse(endpoint)
	if err != nil {
		return nil, err
	}
	list, raw, err := ports(endpoint)
	if err != nil {
		return nil, err
	}
	var keep []json.RawMessage
	for i, p := range list {
		if !p.Ingress() {
			keep = append(keep, raw[i])
		}
	}
	if len(keep) == 0 {
		delete(o, "Ports")
	} else if err := o.put("Ports", keep); err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

// withoutReplicas scales a replicated service to zero; other modes have no
// number to change.
func withoutReplicas(mode json.RawMessage) (json.RawMessage, error) {
	o, err := parse(mode)
	if err != nil {
		return nil, err
	}
	text, replicated := o["Replicated"]
	if !replicated {
		return mode, nil
	}
	r, err := parse(text)
	if err != nil {
		return nil, err
	}
	r["Replicas"] = json.RawMessage("0")
	if err := o.put("Replicated", r); err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

// parts are the members of a spec that the workflow changes.
func parts() []string { return []string{"EndpointSpec", "Mode"} }

// transfer gives current with each of the parts that stands there as in from
// made as in to. theirs are the parts that stand there in neither form: somebody
// else has changed them, and they are left alone. changed says whether there is
// anything to send.
func transfer(current, from, to json.RawMessage) (spec json.RawMessage, theirs []string, changed bool, err error) {
	var c, f, t object
	for text, into := range map[*json.RawMessage]*object{&current: &c, &from: &f, &to: &t} {
		if *into, err = parse(*text); err != nil {
			return nil, nil, false, err
		}
	}
	for _, part := range parts() {
		switch {
		case same(c[part], t[part]):
		case same(c[part], f[part]):
			c[part], changed = t[part], true
			if t[part] == nil {
				delete(c, part)
			}
		default:
			theirs = append(theirs, part)
		}
	}
	spec, err = json.Marshal(c)
	return spec, theirs, changed, err
}

// forceUpdate gives the number that an engine raises to replace tasks which
// would not need it.
func forceUpdate(spec json.RawMessage) (uint64, error) {
	var s struct{ TaskTemplate struct{ ForceUpdate uint64 } }
	err := json.Unmarshal(spec, &s)
	return s.TaskTemplate.ForceUpdate, err
}

// forced gives a spec with that number.
func forced(spec json.RawMessage, n uint64) (json.RawMessage, error) {
	o, err := parse(spec)
	if err != nil {
		return nil, err
	}
	template, err := parse(o["TaskTemplate"])
	if err != nil {
		return nil, err
	}
	if err := errors.Join(template.put("ForceUpdate", n), o.put("TaskTemplate", template)); err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

// same compares JSON by what it means: null, empty and absent members are one.
func same(a, b json.RawMessage) bool {
	x, errX := value(a)
	y, errY := value(b)
	return errors.Join(errX, errY) == nil && reflect.DeepEqual(x, y)
}

func value(text json.RawMessage) (any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // large numbers stay exact
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return pruned(v), nil
}

func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if v[key] = pruned(member); v[key] == nil {
				delete(v, key)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = pruned(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}
