package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestValuesOf: what --input and --parameter say, each value as JSON or as a text.
func TestValuesOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		inputs, parameters []string
		want               string
	}{
		{nil, nil, "{}"},
		{[]string{"day=2026-11-24", "n=5", `all=["a"]`, "empty=", `text="5"`}, nil, `{"inputs":{"all":["a"],"day":"2026-11-24","empty":"","n":5,"text":"5"}}`},
		{nil, []string{"load.days=7", "load.of=a=b", "days=null"}, `{"parameters":{"load":{"days":7,"of":"a=b"},"notebook":{"days":null}}}`},
		{[]string{"day"}, nil, `--input "day": want NAME=VALUE`},
		{nil, []string{"load.day"}, `--parameter "load.day": want NAME=VALUE`},
	} {
		values, err := valuesOf(tt.inputs, tt.parameters)
		data, wrong := json.Marshal(values)
		got := string(data)
		if err != nil {
			got = err.Error()
		}
		if wrong != nil || strings.TrimSpace(got) != tt.want {
			t.Errorf("%q and %q: %s, want %s", tt.inputs, tt.parameters, got, tt.want)
		}
	}
}
