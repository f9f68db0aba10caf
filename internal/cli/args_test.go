package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nul stands for the NUL between the values of a pair.
func nul(args ...string) []string {
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "|", "\x00")
	}
	return args
}

func TestJoinPairs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   []string
		want []string
		err  string
	}{
		{"short", []string{"run", "a", "b", "-p", "n", "3"}, nul("run", "a", "b", "--parameters=n|3"), ""},
		{"value with a dash", []string{"run", "-p", "n", "-3"}, nul("run", "--parameters=n|-3"), ""},
		{"value that looks like a flag", []string{"run", "-p", "n", "--strict"}, nul("run", "--parameters=n|--strict"), ""},
		{"value with =", []string{"run", "-r", "n", "a=b"}, nul("run", "--parameters-raw=n|a=b"), ""},
		{"empty value", []string{"run", "-p", "n", ""}, nul("run", "--parameters=n|"), ""},
		{"glued", []string{"run", "-pn", "3"}, nul("run", "--parameters=n|3"), ""},
		{"long", []string{"run", "--parameters", "n", "3", "a"}, nul("run", "--parameters=n|3", "a"), ""},
		{"long with =", []string{"run", "--parameters=n", "3", "a"}, nul("run", "--parameters=n|3", "a"), ""},
		{"underscore", []string{"run", "--parameters_raw", "n", "3"}, nul("run", "--parameters-raw=n|3"), ""},
		{"hyphen", []string{"run", "--parameters-raw", "n", "3"}, nul("run", "--parameters-raw=n|3"), ""},
		{"value of another flag", []string{"run", "-k", "-p", "a"}, []string{"run", "-k", "-p", "a"}, ""},
		{"glued value of another flag", []string{"run", "-kp", "a", "b"}, []string{"run", "-kp", "a", "b"}, ""},
		{"value of a long flag", []string{"run", "--cwd", "-p", "a"}, []string{"run", "--cwd", "-p", "a"}, ""},
		{"a switch takes none", []string{"run", "--strict", "-p", "n", "3"}, nul("run", "--strict", "--parameters=n|3"), ""},
		{"an optional value is inline", []string{"run", "--events", "-p", "n", "3"}, nul("run", "--events", "--parameters=n|3"), ""},
		{"after --", []string{"run", "--", "-p", "n", "3"}, []string{"run", "--", "-p", "n", "3"}, ""},
		{"lone dash", []string{"run", "-", "-", "-p", "n", "3"}, nul("run", "-", "-", "--parameters=n|3"), ""},
		{"another command", []string{"inspect", "-p", "n", "3"}, []string{"inspect", "-p", "n", "3"}, ""},
		{"unknown flag is left", []string{"run", "--nope", "-p", "n", "3"}, nul("run", "--nope", "--parameters=n|3"), ""},
		{"no values", []string{"run", "-p"}, nil, "flag -p takes two values"},
		{"one value", []string{"run", "--parameters_raw", "n"}, nil, "flag --parameters_raw takes two values"},
		{"completing the name", []string{"__complete", "run", "a", "-p", "n"}, []string{"__complete", "run", "a", "-p", "n"}, ""},
		{"completing after a pair", []string{"__complete", "run", "-p", "n", "3", ""}, nul("__complete", "run", "--parameters=n|3", ""), ""},
		{"nothing", nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := joinPairs(newRoot(testProcess(t)), tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error is %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
