package swarmtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
)

// object is a JSON object. Numbers in it are json.Number, so that none is
// changed by being kept.
type object = map[string]any

// decode reads one JSON object.
func decode(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	return o, nil
}

// canonical writes a value as JSON with its keys in order: equal values give
// equal text.
func canonical(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // made of JSON
	}
	return string(data)
}

// clone gives a copy that shares nothing with the original.
func clone(o object) object {
	if o == nil {
		return nil
	}
	c, err := decode([]byte(canonical(o)))
	if err != nil {
		panic(err) // just encoded
	}
	return c
}

// child gives the object under a key, or nil. A nil object can be read.
func child(o object, key string) object {
	c, _ := o[key].(object)
	return c
}

// objects gives the objects of an array under a key.
func objects(o object, key string) []object {
	items, _ := o[key].([]any)
	var list []object
	for _, item := range items {
		if c, ok := item.(object); ok {
			list = append(list, c)
		}
	}
	return list
}

func str(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

func boolean(o object, key string) bool {
	b, _ := o[key].(bool)
	return b
}

// number gives the whole number under a key, or 0.
func number(o object, key string) int {
	switch v := o[key].(type) {
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0
		}
		return int(n)
	case int:
		return v
	default:
		return 0
	}
}

// has tells whether a key has a value.
func has(o object, key string) bool { return o[key] != nil }

// setDefault gives a key a value where it has none.
func setDefault(o object, key string, value any) {
	if !has(o, key) {
		o[key] = value
	}
}

// strip removes from objects what Docker's encoder leaves out: nulls and empty
// arrays.
func strip(o object) {
	for key, value := range o {
		switch v := value.(type) {
		case nil:
			delete(o, key)
		case object:
			strip(v)
		case []any:
			if len(v) == 0 {
				delete(o, key)
			}
			for _, item := range v {
				if c, ok := item.(object); ok {
					strip(c)
				}
			}
		}
	}
}

// stringMap reads an object of strings; nil when there is none.
func stringMap(o object, key string) map[string]string {
	values := child(o, key)
	if values == nil {
		return nil
	}
	m := map[string]string{}
	for name := range values {
		m[name] = str(values, name)
	}
	return m
}

// orEmpty gives an empty map for none, which is another thing in JSON.
func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

// newID gives an ID as SwarmKit's: 25 digits to the base 36.
func (s *Swarm) newID() string {
	const length, base = 25, 36
	sum := sha256.Sum256([]byte(s.newHexID()))
	text := new(big.Int).SetBytes(sum[:]).Text(base)
	return (strings.Repeat("0", length) + text)[len(text):][:length]
}

// newHexID gives an ID as that of containers and local networks: 64 digits to
// the base 16.
func (s *Swarm) newHexID() string {
	s.ids++
	return hexID(fmt.Sprint("object ", s.ids))
}

func hexID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
