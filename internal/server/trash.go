package server

import (
	"context"
	"log/slog"
	"time"
)

// trashEvery is how often the server looks for what has been in the trash for
// its time.
const trashEvery = 24 * time.Hour

// keepTrash removes for good what has been in the trash for long enough, now and
// every day, until the function that it returns is called.
func (s *Server) keepTrash(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(trashEvery)
		defer tick.Stop()
		for {
			if err := s.volume.EmptyTrashes(ctx); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelError, "removing what is in the trash for too long", slog.String("error", err.Error()))
			}
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
