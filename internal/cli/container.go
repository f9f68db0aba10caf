package cli

import (
	"quire/internal/compute/shim"
	"quire/internal/server"
)

// containerShim runs the process that stays with a container, or the engine of a
// connection in one, when that is what this process was started for. It comes
// before all commands, and no help names it: only the server and the compute
// drivers start it, many times a minute.
func containerShim(p Process) (status int, asked bool) {
	switch {
	case len(p.Args) == 1 && p.Args[0] == shim.Command:
		return shim.Main(), true
	case len(p.Args) > 1 && p.Args[0] == shim.InnerCommand:
		return shim.InnerMain(p.Args[1:]), true
	case len(p.Args) == 2 && p.Args[0] == server.EngineCommand:
		return server.EngineMain(p.Args[1], p.Stderr), true
	}
	return 0, false
}
