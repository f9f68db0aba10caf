package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"quire/internal/compute"
	"quire/internal/compute/process"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/duckdb"
	"quire/internal/query/sqlite"
)

// EngineCommand is the argument with which this program becomes the process of an
// engine; EngineMain is that process.
const EngineCommand = sqlite.Command

// EngineMain answers orders until nothing was asked for a while, and returns the
// exit status.
func EngineMain(argument string, stderr io.Writer) int { return sqlite.Main(argument, stderr) }

// openDuckDB makes the source that starts a DuckDB for each person, or one for
// everybody.
func (s *Server) openDuckDB(ctx context.Context, name string, c ConnectionConfig) (query.Source, error) {
	driver, install, err := s.enginePlace(ctx)
	if err != nil {
		return nil, err
	}
	files, err := s.volumeDir()
	if err != nil {
		return nil, err
	}
	cfg := duckdb.Config{
		Dir: s.data("duckdb"), Files: files, Sample: filepath.Join(filepath.Dir(files), "sample-data"), Driver: driver, Label: install,
		MemoryBytes: c.MemoryBytes, Log: s.log,
	}
	if name != localConnection {
		cfg.Label = install + "-" + name
	}
	if c.Shared {
		// Several servers have the folder, and the first that is asked has the catalog.
		cfg.Shared = filepath.Join(s.shared("catalogs"), name)
		source, err := duckdb.New(cfg)
		// Only as a source: it makes nothing of other people's results.
		return struct{ query.Source }{source}, err
	}
	if name != localConnection {
		cfg.Dir = s.data("duckdb-" + name)
	}
	source, err := duckdb.New(cfg)
	if err == nil && (s.duckdb == nil || name == localConnection) {
		s.duckdb = source
	}
	return source, err
}

// openSQLite makes the source of a file of SQLite.
func (s *Server) openSQLite(ctx context.Context, name string, c ConnectionConfig, file string) (query.Source, error) {
	driver, install, err := s.enginePlace(ctx)
	if err != nil {
		return nil, err
	}
	files, err := s.volumeDir()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, problem.WrapAs(problem.Internal, err, "finding this program")
	}
	return sqlite.New(sqlite.Config{
		File: file, Files: files, Dir: filepath.Join(s.data("sqlite"), name), Executable: self, Driver: driver, Label: install + "-" + name,
		MemoryBytes: c.MemoryBytes, Log: s.log,
	})
}

func (s *Server) volumeDir() (string, error) {
	files, err := filepath.EvalSymlinks(s.shared("files"))
	return files, problem.WrapAs(problem.Unavailable, err, "finding the volume")
}

// enginePlace is where the processes of engines run, and what they are labelled.
func (s *Server) enginePlace(ctx context.Context) (driver compute.Driver, label string, err error) {
	if driver, err = s.nearby(ctx); err == nil {
		label, err = s.installID()
	}
	return driver, label, err
}

// nearby returns the driver for processes that need this machine's folders:
// the one that jobs have, where that is on this machine.
func (s *Server) nearby(ctx context.Context) (compute.Driver, error) {
	if s.near != nil {
		return s.near, nil
	}
	if s.driver != nil {
		probe, err := s.driver.Probe(ctx)
		if err == nil && (probe.Driver == computeLocal || probe.Driver == computeProcess) {
			return s.driver, nil
		}
	}
	dir, err := s.containerDir(computeLocal)
	if err != nil {
		return nil, err
	}
	place, err := s.openMachine(ctx, dir, nil, nil)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "DuckDB and SQLite run as plain processes: nothing but themselves keeps them in", slog.String("error", err.Error()))
		if dir, err = s.containerDir(computeProcess); err != nil {
			return nil, err
		}
		if place, err = process.Open(process.Config{Dir: dir, Program: s.shimProgram(ctx)}); err != nil {
			return nil, err
		}
	}
	s.near, s.places = place, append(s.places, place)
	return place, nil
}
