//go:build !unix

package shim

// Command is the first argument of a quire process that is a shim.
const Command = "container-init"

// InnerCommand is the first argument of a quire process that is the first in a
// container.
const InnerCommand = "container-inner"

// InnerMain reports that there are no containers on this system.
func InnerMain([]string) int { return 125 }

// Main reports that there are no containers on this system.
func Main() int { return 125 }
