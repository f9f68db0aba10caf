package compute

import (
	"strings"
	"testing"
)

// FuzzParseEnv: what is read can be written back and read again, and what is
// read follows the rules.
func FuzzParseEnv(f *testing.F) {
	for _, seed := range []string{"", "A=1", "A=1\r\nB=2\n", "=x", "A", "A=\x00", "A=1\nA=2", "\u2028=", "É=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		env, wrong := ParseEnv(text)
		if len(wrong) > strings.Count(text, "\n")+2 {
			t.Errorf("%d violations", len(wrong))
		}
		if len(wrong) == 0 && len(ValidateEnv(env)) > 0 {
			t.Error("an environment that was read breaks the rules")
		}
		var b strings.Builder
		for name, value := range env {
			b.WriteString(name + "=" + value + "\n")
		}
		again, _ := ParseEnv(b.String())
		if len(again) != len(env) {
			t.Fatalf("%d variables became %d", len(env), len(again))
		}
		for name, value := range env {
			if again[name] != strings.TrimSuffix(value, "\r") && again[name] != value {
				t.Errorf("%s: %q became %q", name, value, again[name])
			}
		}
	})
}
