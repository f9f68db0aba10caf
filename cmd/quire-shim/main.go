// Command quire-shim is the process that stays with one container, and nothing
// else: "quire container-init" without the libraries of the rest of Quire, whose
// initializers took most of a container's start. quire carries it (package
// program) and starts it; no person does.
package main

import (
	"os"

	"quire/internal/compute/shim"
)

func main() { os.Exit(shim.Main()) }
