package kernel

import "strings"

// isIPykernel reports whether the spec runs ipykernel's launcher in a plain way.
func isIPykernel(spec Spec) bool {
	for i, a := range spec.Argv {
		if a == "-m" && i+1 < len(spec.Argv) {
			return spec.Argv[i+1] == "ipykernel_launcher" || spec.Argv[i+1] == "ipykernel"
		}
		if strings.HasPrefix(a, "-m") && strings.TrimPrefix(a, "-m") == "ipykernel_launcher" {
			return true
		}
	}
	return false
}
