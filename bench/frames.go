package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed frames.py
var framesProgram string

var frameRows = []row{
	{"query: 1,000,000 x 10 from Parquet to pandas", "<= 2x DuckDB's own .df()", measureFrame},
	{"query: 1,000,000 x 10 from PostgreSQL to pandas", ">= 5x pandas.read_sql", measureTable},
	{"query: first bytes of 30,000,000 rows", "<= 100 ms after the statement was sent", measureFirst},
	{"query: a statement is cancelled", "<= 200 ms to its end", measureCancel},
	{"query: memory of the server at a result of 2 GB", "<= 64 MiB", measureGateway},
}

// measureFrame compares kg.sql with DuckDB's own Python on the same file, in one
// process.
func measureFrame(ctx context.Context, cfg config) (result, error) {
	dir, err := os.MkdirTemp(cfg.dir, "frames-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	quire, err := startQuire(ctx, cfg, dir)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	ours, theirs, err := quire.frames(ctx, cfg, "duckdb", filepath.Join(workspace(dir), "million.parquet"), "million.parquet")
	if err != nil {
		return result{}, err
	}
	times := float64(ours) / float64(theirs)
	return result{
		quire: sample{wall: ours, peak: quire.memory("RssAnon")}, peer: sample{wall: theirs},
		figure: fmt.Sprintf("%.2fx DuckDB's own", times), met: times <= 2,
	}, nil
}

// frames runs frames.py in the environment of the tests, which has what it
// compares with, and returns the medians of both sides.
func (s *service) frames(ctx context.Context, cfg config, engine, place, name string) (ours, theirs time.Duration, err error) {
	program := filepath.Join(cfg.dir, "frames.py")
	if err := os.WriteFile(program, []byte(framesProgram), 0o600); err != nil {
		return 0, 0, err
	}
	library, err := filepath.Abs("python")
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(cfg.papermill), "python"), program, engine, place, name, strconv.Itoa(cfg.runs))
	cmd.Env = append(os.Environ(), "PYTHONPATH="+library, "QUIRE_URL="+s.url, "QUIRE_TOKEN="+benchToken)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", program, err)
	}
	var seen struct{ Quire, Peer []float64 }
	if err := json.Unmarshal(out, &seen); err != nil {
		return 0, 0, fmt.Errorf("reading %q: %w", out, err)
	}
	median := func(all []float64) time.Duration { return time.Duration(medianOf(all) * float64(time.Second)) }
	return median(seen.Quire), median(seen.Peer), nil
}
