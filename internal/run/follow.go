package run

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"quire/internal/auth"
	"quire/internal/engine"
	"quire/internal/problem"
)

// finalOutput opens the output of the newest attempt that has one, with what a
// killed attempt left in its journal.
func (s *Runs) finalOutput(r Run) (*os.File, error) {
	for n := r.Attempt; n > 0; n-- {
		name := spoolOf(s.cfg.Spool, r.ID, n).path(outputFile)
		if r.Container != nil {
			file, err := s.containedFile(r, n)
			if err == nil || !problem.Is(err, problem.NotFound) {
				return file, err
			}
			continue
		}
		if _, err := engine.Recover(name); err != nil && !problem.Is(err, problem.NotFound) {
			return nil, err
		}
		file, err := os.Open(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, fs.ErrNotExist
}

// maxEventLine is the longest line of an event that is read, in bytes.
const maxEventLine = 4 << 20

// Follow calls f with each line of the events of a run's newest attempt, from
// the line number from (0 is the first), and goes on as they come until the run
// has ended, f fails or ctx ends. A line is one engine.Event in JSON. When a new
// attempt begins, f is called with attempt one higher and lines from 0.
func (s *Runs) Follow(ctx context.Context, u auth.User, id string, attempt, from int, f func(attempt, line int, event []byte) error) error {
	for {
		r, err := s.Get(ctx, u, id)
		if err != nil {
			return err
		}
		ended := r.State.Ended()
		if r.Attempt > 0 {
			if attempt != r.Attempt {
				attempt, from = r.Attempt, 0
			}
			next, err := s.events(id, attempt, from, func(line int, event []byte) error { return f(attempt, line, event) })
			if err != nil {
				return err
			}
			from = next
		}
		if ended {
			return nil
		}
		if err := s.wait(ctx, spoolOf(s.cfg.Spool, id, max(r.Attempt, 1))); err != nil {
			return err
		}
	}
}

// Events calls f with each line of the events of a run's newest attempt, as far
// as they have come. A line is one engine.Event in JSON.
func (s *Runs) Events(ctx context.Context, u auth.User, id string, f func(event []byte) error) error {
	r, err := s.Get(ctx, u, id)
	if err != nil || r.Attempt == 0 {
		return err
	}
	_, err = s.events(id, r.Attempt, 0, func(_ int, event []byte) error { return f(event) })
	return err
}

// wait returns when something in the spool changed, at the latest after a
// quarter of a second.
func (s *Runs) wait(ctx context.Context, sp spool) error {
	told, stop := watchDir(string(sp))
	defer stop()
	timer := time.NewTimer(250 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-told:
	case <-timer.C:
	}
	return nil
}

// events reads the whole lines of an attempt's events from a line on.
func (s *Runs) events(id string, attempt, from int, f func(line int, event []byte) error) (next int, err error) {
	file, err := openPlain(spoolOf(s.cfg.Spool, id, attempt).path(eventsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return from, nil
	}
	if err != nil {
		return from, problem.WrapAs(problem.Unavailable, err, "reading the events of run %s", id)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	for line := 0; ; line++ {
		event, err := readLine(r)
		if err == io.EOF {
			return max(line, from), nil
		}
		if err != nil {
			return from, err
		}
		if line < from {
			continue
		}
		if err := f(line, event); err != nil {
			return line, err
		}
	}
}

// readLine returns a line without its end, and io.EOF for one that has no end
// yet.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxEventLine:
			continue
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		}
		return nil, problem.New(problem.Internal, "an event is longer than %d bytes", maxEventLine)
	}
}

// Log opens what the newest attempt's process had to say itself: little, unless
// something went wrong.
func (s *Runs) Log(ctx context.Context, u auth.User, id string) (io.ReadCloser, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return nil, err
	}
	if r.Container != nil && s.cfg.Containers != nil && r.Attempt > 0 {
		return s.cfg.Containers.log(ctx, id, r.Attempt)
	}
	file, err := openPlain(spoolOf(s.cfg.Spool, id, r.Attempt).path(logFile))
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return file, problem.WrapAs(problem.Unavailable, err, "opening the log of run %s", id)
}
