//go:build !linux

package server

import (
	"context"

	"quire/internal/compute"
	"quire/internal/problem"
)

// openMachine says that there are no containers without Linux.
func (*Server) openMachine(context.Context, string, []string, map[string]string) (compute.Driver, error) {
	return nil, problem.New(problem.Unavailable, "containers of this machine need Linux")
}
