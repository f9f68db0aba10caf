package schedule

import "context"

// Round looks once at what is due.
func Round(ctx context.Context, s *Schedules) error { return s.round(ctx) }

// HeedIdentities looks once whether service identities may do something else.
func HeedIdentities(ctx context.Context, s *Schedules) error { return s.heedIdentities(ctx) }

// LookForFiles looks at the files that schedules wait for.
func LookForFiles(ctx context.Context, s *Schedules) error { return s.lookForFiles(ctx, "") }

// TakeOver is what a server that is alone does first.
func TakeOver(ctx context.Context, s *Schedules) { s.takeOver(ctx) }
