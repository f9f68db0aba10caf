package cli

import "quire/internal/compute/shim"

// containerShim runs the process that stays with a container, when that is
// what this process was started for. It comes before all commands, and no
// help names it: only the compute drivers start it, many times a minute.
func containerShim(p Process) (status int, asked bool) {
	if len(p.Args) != 1 || p.Args[0] != shim.Command {
		return 0, false
	}
	return shim.Main(), true
}
