package compute

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxEnvBytes is how long all environment variables of a container may be
// together: names, values and two bytes for each variable.
const MaxEnvBytes = 32 << 10

// ParseEnv reads environment variables as a person writes them: one NAME=value
// a line, split at the first "=", without quotes: what stands after the "=" is
// the value as it is, up to the end of the line and without a carriage return
// there. Lines of nothing but spaces are skipped. Every violation names its
// line, counted from 1, and has the field "env"; the variables are those of
// the lines that are right.
func ParseEnv(text string) (map[string]string, Violations) {
	env := make(map[string]string)
	var found Violations
	first := make(map[string]int)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, isPair := strings.Cut(line, "=")
		if !isPair {
			found.Add("env", "line %d: there is no \"=\"; write NAME=value", number)
			continue
		}
		if fault := envFault(name, value); fault != "" {
			found.Add("env", "line %d: %s", number, fault)
			continue
		}
		if before, twice := first[name]; twice {
			found.Add("env", "line %d: %s is set already in line %d", number, name, before)
			continue
		}
		first[name] = number
		env[name] = value
	}
	return env, append(found, envSize(env)...)
}

// ValidateEnv returns every violation of the engine's rules for environment
// variables, with the field "env", in the order of their names.
func ValidateEnv(env map[string]string) Violations {
	var found Violations
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if fault := envFault(name, env[name]); fault != "" {
			found.Add("env", "%s", fault)
		}
	}
	return append(found, envSize(env)...)
}

func envSize(env map[string]string) Violations {
	var found Violations
	size := 0
	for name, value := range env {
		size += len(name) + len(value) + 2
	}
	if size > MaxEnvBytes {
		found.Add("env", "all variables together are %d bytes, above the maximum of %d", size, MaxEnvBytes)
	}
	return found
}

// envFault says what is wrong with one variable, or "". It never shows a
// value: that may be a password.
func envFault(name, value string) string {
	const most = 40 // bytes of a name in a message
	shown := name
	if len(shown) > most {
		shown = strings.ToValidUTF8(shown[:most], "") + "…"
	}
	switch {
	case name == "":
		return "there is no name before the \"=\""
	case !isEnvName(name):
		return "the name " + quoted(shown) + " may hold only A-Z, 0-9 and _, and not start with a digit"
	case strings.ContainsRune(value, 0) || !utf8.ValidString(value):
		return "the value of " + shown + " holds a zero byte or is not UTF-8"
	}
	return ""
}

func isEnvName(name string) bool {
	for i, c := range []byte(name) {
		if (c < 'A' || c > 'Z') && c != '_' && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
