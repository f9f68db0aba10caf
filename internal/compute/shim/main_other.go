//go:build !unix

package shim

// Command is the first argument of a quire process that is a shim.
const Command = "container-init"

// Main reports that there are no containers on this system.
func Main() int { return 125 }
