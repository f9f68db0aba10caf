package server

import (
	"bytes"
	"testing"

	"quire/internal/nbtemplate"
	"quire/internal/notebook"
	"quire/internal/parameter"
)

// TestStartersAreWhole reads every template that comes with Quire: there is one
// for each role, and it is what a template should be.
func TestStartersAreWhole(t *testing.T) {
	t.Parallel()
	for _, bare := range []bool{false, true} {
		t.Run(map[bool]string{false: "with DuckDB", true: "without"}[bare], func(t *testing.T) { checkStarters(t, bare) })
	}
}

func checkStarters(t *testing.T, bare bool) {
	t.Helper()
	all, sources, err := starters(bare)
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for i, p := range all {
		for _, r := range p.Roles {
			served[r] = true
		}
		if p.Title == "" || len(p.Description) < 80 || len(p.Tags) == 0 || len(p.Roles) == 0 {
			t.Errorf("%s: says too little of itself: %+v", p.Name, p)
		}
		nb, err := notebook.Parse(sources[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := nb.Validate(); err != nil || len(nb.Warnings) > 0 {
			t.Errorf("%s: %v %v", p.Name, err, nb.Warnings)
		}
		if data, err := nb.Bytes(); err != nil || !bytes.Equal(data, sources[i]) {
			t.Errorf("%s is not as quire fmt writes it: %v", p.Name, err)
		}
		definitions, warnings := parameter.Inspect(nb.Language(), nb.Cells[nb.ParametersCell()].Source)
		if len(warnings) > 0 || len(definitions) == 0 {
			t.Errorf("%s: parameters %v %v", p.Name, definitions, warnings)
		}
		for _, one := range parameter.SchemaOf(definitions).Parameters {
			if one.Help == "" && one.Name != "seed" || !one.Declared || one.Default == nil {
				t.Errorf("%s: %s has help %q, declared %t, default %v", p.Name, one.Name, one.Help, one.Declared, one.Default)
			}
		}
	}
	for _, role := range nbtemplate.Roles {
		if !served[role] {
			t.Errorf("there is nothing for a %s", role)
		}
	}
}
