package wizard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// PlanFormat is the version of a Plan as a file.
const PlanFormat = 1

// Plan is what a workflow is going to do, and all that has to be known to
// agree to it. It holds no secrets. It is a pure function of the answers and of
// the cluster: planning again gives the same plan as long as nothing changed.
type Plan struct {
	Format   int             `json:"format"`
	Flow     string          `json:"flow"`    // kind of workflow
	Cluster  string          `json:"cluster"` // ID of the swarm it is for
	Title    string          `json:"title"`
	Command  string          `json:"command"` // the weft command that makes this plan
	Answers  json.RawMessage `json:"answers"` // the flow's parameters
	World    json.RawMessage `json:"world"`   // what it was made from, the flow's own
	Steps    []Planned       `json:"steps"`
	Findings []Finding       `json:"findings,omitempty"`
	Hazards  []Hazard        `json:"hazards,omitempty"`
	Losses   []string        `json:"losses,omitempty"` // what can't be kept
	Notes    []string        `json:"notes,omitempty"`  // what the reader should know besides
}

// Planned is a step as the plan shows it.
type Planned struct {
	ID         string `json:"id"` // unique in the plan, and stable
	Title      string `json:"title"`
	Interrupts string `json:"interrupts,omitempty"` // what stops working with it
}

// Severity says whether a finding stops a workflow.
type Severity string

// The severities.
const (
	Blocks Severity = "error"   // the workflow is refused
	Warns  Severity = "warning" // somebody should look
	Tells  Severity = "info"
)

// Finding is what a check before the first step has found.
type Finding struct {
	Code     string   `json:"code"` // stable, for scripts
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Fix      string   `json:"fix,omitempty"`
	Answer   string   `json:"answer,omitempty"` // name of the answer it is about
}

// Hazard is something bad that the plan will do or may do. Each is accepted by
// its name.
type Hazard struct {
	Name string `json:"name"` // as for --accept
	Text string `json:"text"`
	Word string `json:"word,omitempty"` // what a person types to accept it; empty: yes
}

// Draft is a plan with what undoing it needs, secrets included.
type Draft struct {
	Plan  Plan
	Saved json.RawMessage
}

// Blockers gives the findings for which the plan is refused.
func (p *Plan) Blockers() []Finding {
	var list []Finding
	for _, f := range p.Findings {
		if f.Severity == Blocks {
			list = append(list, f)
		}
	}
	return list
}

// Unaccepted gives the hazards that are not among the accepted names.
func (p *Plan) Unaccepted(accepted []string) []Hazard {
	return slices.DeleteFunc(slices.Clone(p.Hazards), func(h Hazard) bool { return slices.Contains(accepted, h.Name) })
}

// Digest identifies what the plan is made from and does. Two plans with one
// digest do the same to the same world. The findings are not part of it.
func (p *Plan) Digest() string {
	text, err := json.Marshal(struct {
		Format         int
		Flow, Cluster  string
		Answers, World json.RawMessage
		Steps          []Planned
	}{p.Format, p.Flow, p.Cluster, p.Answers, p.World, p.Steps})
	if err != nil { // raw JSON of ours; a plan from a file has passed ParsePlan
		return "unreadable: " + err.Error()
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// ParsePlan reads a plan from a file's text. It refuses what this version
// does not know, rather than leave it out.
func ParsePlan(text []byte) (Plan, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err == nil && head.Format > PlanFormat {
		return Plan{}, fmt.Errorf("the plan has format %d, of a newer weft; this one knows up to %d", head.Format, PlanFormat)
	}
	var p Plan
	if err := strictly(text, &p); err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	if p.Format < 1 || p.Flow == "" || len(p.Steps) == 0 {
		return Plan{}, errors.New("this is not a plan: it has no format, flow or steps")
	}
	var err error
	if p.Answers, err = compact(p.Answers); err == nil {
		p.World, err = compact(p.World)
	}
	return p, err
}

// strictly reads one JSON object whose members are all known.
func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more after its end")
	}
	return nil
}

// compact gives JSON the form in which json.Marshal writes it, so that a file
// that was indented has the same digest.
func compact(text json.RawMessage) (json.RawMessage, error) {
	out, err := json.Marshal(text)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	return out, nil
}
