//go:build unix && !linux

package shim

// InnerMain reports that there are no containers on this system.
func InnerMain([]string) int { return exitTrouble }
