//go:build torture

package fault

import "os"

// Compiled says whether faults can be planted in this binary.
const Compiled = true

var planted = Name(os.Getenv("QUIRE_FAULT"))

// On reports whether the fault is planted.
func On(n Name) bool { return n == planted }
