package server

import (
	"context"
	"log/slog"
	"time"

	"quire/internal/contents"
)

// trashEvery is how often the server looks for what has been in the trash for
// its time, and for bytes that no version names.
const trashEvery = 24 * time.Hour

// keepTrash removes for good what has been in the trash for long enough, and the
// bytes that no version names, now and every day, until the function that it
// returns is called.
func (s *Server) keepTrash(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(min(trashEvery, s.cfg.FreeAfter))
		defer tick.Stop()
		for {
			s.emptyTrash(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *Server) emptyTrash(ctx context.Context) {
	if err := s.volume.EmptyTrashes(ctx); err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelError, "removing what is in the trash for too long", slog.String("error", err.Error()))
	}
	freed, err := s.blobs.Free(ctx, contents.FreeOptions{After: s.cfg.FreeAfter})
	if err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelError, "freeing the bytes that no version names", slog.String("error", err.Error()))
	}
	if freed.Objects > 0 {
		s.log.LogAttrs(ctx, slog.LevelInfo, "bytes that no version named are freed", slog.Int("objects", freed.Objects))
	}
}
