package server

import "quire/internal/schedule"

// newSchedules returns what fires the schedules: over the same records as the
// runs, for whoever owns them.
func (s *Server) newSchedules() *schedule.Schedules {
	return schedule.New(schedule.Config{Store: s.db, Runs: s.runs, User: s.db.User, Log: s.log})
}
