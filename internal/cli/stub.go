package cli

import (
	"time"

	"quire/internal/parameter"
)

func formatPath(p string, set parameter.Set, now time.Time) (string, error) { return p, nil }
