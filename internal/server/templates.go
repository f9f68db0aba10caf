package server

import (
	"context"

	"quire/internal/contents"
	"quire/internal/nbtemplate"
	"quire/internal/schedule"
)

// openTemplates opens the templates: their sources are objects of their own,
// which no file of the volume has a say in.
func (s *Server) openTemplates(ctx context.Context) error {
	store, err := s.objectStore(ctx, "templates")
	if err != nil {
		return err
	}
	s.templates = nbtemplate.New(nbtemplate.Config{Store: s.db, Blobs: &contents.Blobs{Store: store}, Volume: s.volume, Dates: schedule.Dates})
	if !s.cfg.Sample {
		return nil
	}
	return s.publishStarters(ctx)
}
