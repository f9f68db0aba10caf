package parameter

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// oracle asks the Python of the environment variable what it makes of the
// inputs. It returns nil when the variable is not set: the test then ends with
// its table alone. See testdata/oracle.py.
func oracle(t *testing.T, variable, mode string, inputs any) [][]any {
	t.Helper()
	python := os.Getenv(variable)
	if python == "" {
		return nil
	}
	in, err := json.Marshal(inputs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/oracle.py", mode)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", python, mode, err)
	}
	var answers [][]any
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// typed is a value in the oracle's form.
func typed(v Value) []any {
	switch v.kind {
	case KindBool:
		return []any{"b", v.b}
	case KindInt:
		return []any{"i", v.intText()}
	case KindFloat:
		return []any{"f", formatFloat(v.f)}
	case KindString:
		return []any{"s", v.s}
	case KindList:
		items := []any{}
		for _, e := range v.list {
			items = append(items, typed(e))
		}
		return []any{"l", items}
	case KindDict:
		entries := []any{}
		for _, f := range v.fields {
			entries = append(entries, []any{typed(f.Key), typed(f.Value)})
		}
		return []any{"d", entries}
	default:
		return []any{"n"}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
