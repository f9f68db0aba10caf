package cli

import (
	"context"

	"quire/internal/problem"
	"quire/internal/schedule"
)

// serverDefinition is the definition of a schedule of the server.
func serverDefinition(_ context.Context, name string) (schedule.Definition, error) {
	return schedule.Definition{}, problem.New(problem.NotFound, "no file %s", name)
}
