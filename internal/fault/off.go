//go:build !torture

package fault

// Compiled says whether faults can be planted in this binary.
const Compiled = false

// On reports whether the fault is planted: never in this binary.
func On(Name) bool { return false }
