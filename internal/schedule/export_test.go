package schedule

import "context"

// Round looks once at what is due.
func Round(ctx context.Context, s *Schedules) error { return s.round(ctx) }
