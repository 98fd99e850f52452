package ingress

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft/wizard"
)

// view is a wizard.View.
type view struct{ world World }

// Look is part of wizard.Guide.
func (c *Customise) Look(ctx context.Context) (wizard.View, error) {
	w, err := c.survey(ctx)
	if err != nil {
		return nil, err
	}
	return &view{w}, nil
}

// Present is part of wizard.View.
func (v *view) Present() map[string]string {
	now := v.world.Ingress
	if now == nil {
		return map[string]string{"name": "ingress", "subnet": "of the default pool", "ipv4": "true", "ipv6": "false"}
	}
	spec := now.again()
	out := map[string]string{"name": spec.Name, "ipv4": strconv.FormatBool(spec.EnableIPv4 == nil || *spec.EnableIPv4), "ipv6": strconv.FormatBool(spec.EnableIPv6)}
	join := func(name, value string) {
		if value != "" {
			out[name] = strings.TrimPrefix(out[name]+", "+value, ", ")
		}
	}
	for _, p := range spec.IPAM.Config {
		join("subnet", p.Subnet)
		join("gateway", p.Gateway)
		join("ip-range", p.IPRange)
		join("aux-address", words(p.AuxAddress))
	}
	if mtu := spec.mtu(); mtu != 0 {
		out["mtu"] = strconv.Itoa(mtu)
		delete(spec.Options, MTUOption)
	}
	join("opt", words(spec.Options))
	join("label", words(spec.Labels))
	return out
}

// Review is part of wizard.View.
func (v *view) Review(answers json.RawMessage) []wizard.Finding {
	opts, err := ParseOptions(answers)
	if err != nil {
		return nil
	}
	s, err := keep(&v.world, &opts)
	if err != nil {
		return []wizard.Finding{blocks("unreadable", "use a weft that is as new as the engine", "%v", err)}
	}
	return slices.DeleteFunc(preflight(&v.world, s), func(f wizard.Finding) bool { return f.Answer == "" })
}

func words(m map[string]string) string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s=%s", key, m[key]))
	}
	return strings.Join(list, ", ")
}
