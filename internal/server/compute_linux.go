package server

import (
	"context"

	"quire/internal/compute"
	"quire/internal/compute/local"
	"quire/internal/problem"
)

// openMachine opens the containers of this machine. It fails with kind
// Unavailable where none can be started.
func (s *Server) openMachine(ctx context.Context, dir string, hostPaths []string, images map[string]string) (compute.Driver, error) {
	driver, err := local.Open(local.Config{Dir: dir, Program: s.shimProgram(ctx), HostPaths: hostPaths, Images: images})
	if err != nil {
		return nil, err
	}
	probe, err := driver.Probe(ctx)
	if err == nil && probe.Support[compute.Processes].Level == compute.Unsupported {
		err = problem.New(problem.Unavailable, "%s", probe.Summary)
	}
	if err != nil {
		_ = driver.Close()
		return nil, err
	}
	return driver, nil
}
