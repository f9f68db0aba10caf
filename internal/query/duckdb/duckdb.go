// Package duckdb is the source of the connection "local": DuckDB, in a process
// of its own for each person.
//
// The process is quire-duckdb, which this program carries. It runs in a
// container that sees that person's catalog and workspace, what everybody
// shares, and the sample; no network, no other person's files, none of the
// server's. It ends by itself when nothing was asked for a while. One that runs
// out of memory, or crashes, takes only its person's statements with it.
package duckdb

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/frame"
	"quire/internal/query/worker"
)

// Config is what the source needs. The zero value of a number is its default.
type Config struct {
	Dir    string         // for catalogs, and what the processes need; made when it is missing
	Files  string         // the volume's directory: users/<name>/ and shared/ are seen by the processes
	Sample string         // a folder of Parquet files that are shown to everybody as views; may be missing
	Driver compute.Driver // where the processes run
	Label  string         // of the processes' containers, so that a later server finds them
	// Shared is the folder of a catalog that all have together, in one process that
	// sees no person's files; "" is a catalog for each person.
	Shared string

	MemoryBytes int64         // of one process. Default 2 GiB
	DiskBytes   int64         // for what does not fit in its memory. Default 20 GiB
	Threads     int           // of one process. Default the machine's, at most 4
	Idle        time.Duration // how long a process waits for the next statement. Default 5 min
	Log         *slog.Logger
}

// Source sends statements to each person's DuckDB.
type Source struct {
	cfg Config

	pool *worker.Pool

	mu     sync.Mutex
	exe    string  // extracted; "" is not yet
	sample *coming // nil when nothing is to come
}

var _ query.Source = (*Source)(nil)

// New returns a Source. It starts nothing. The caller closes it.
func New(cfg Config) (*Source, error) {
	if cfg.MemoryBytes == 0 {
		cfg.MemoryBytes = 2 * compute.GiB
	}
	if cfg.DiskBytes == 0 {
		cfg.DiskBytes = 20 * compute.GiB
	}
	if cfg.Threads == 0 {
		cfg.Threads = min(runtime.NumCPU(), 4)
	}
	if cfg.Idle == 0 {
		cfg.Idle = 5 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if cfg.Shared != "" {
		if cfg.Shared, err = filepath.Abs(cfg.Shared); err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "finding the shared catalog")
		}
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "finding the catalogs' directory")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making the catalogs' directory")
	}
	if cfg.Dir, err = filepath.EvalSymlinks(cfg.Dir); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "finding the catalogs' directory")
	}
	if cfg.Sample != "" {
		if err := os.MkdirAll(cfg.Sample, 0o700); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "making room for the sample")
		}
	}
	s := &Source{cfg: cfg}
	s.pool = worker.New(worker.Config{
		Engine: "DuckDB", Driver: cfg.Driver, Label: cfg.Label, MemoryBytes: cfg.MemoryBytes, Log: cfg.Log, Place: s.place, Explain: explain,
	})
	return s, nil
}

// Engine implements query.Source.
func (*Source) Engine() string { return "duckdb" }

// Close ends the processes.
func (s *Source) Close() error { return s.pool.Close() }

// Run implements query.Source.
func (s *Source) Run(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
	b, err := st.Text.Bind(query.Dollar, st.Values)
	if err != nil {
		return query.Outcome{}, err
	}
	owner, err := s.owner(st.User)
	if err != nil {
		return query.Outcome{}, err
	}
	return s.pool.Run(ctx, owner, st, b, func(done frame.Done) bool { return s.cameSince(ctx, done.Fault) }, out)
}

// Load implements query.Source.
func (s *Source) Load(ctx context.Context, user string, to query.Target, arrow io.Reader) (int64, error) {
	done, err := s.order(ctx, user, frame.Ask{What: "load", Name: to.Name, Mode: to.Mode}, arrow, nil)
	if err == nil && done.Fault != nil {
		err = s.pool.FaultError(done.Fault)
	}
	return done.Rows, problem.Wrap(err, "loading %s", to.Name)
}

// Parquet makes a Parquet file of an Arrow stream.
func (s *Source) Parquet(ctx context.Context, user string, arrow io.Reader, to io.Writer) error {
	done, err := s.order(ctx, user, frame.Ask{What: "parquet"}, arrow, worker.Bytes{Writer: to})
	if err == nil && done.Fault != nil {
		err = s.pool.FaultError(done.Fault)
	}
	return problem.Wrap(err, "writing Parquet")
}

// Tables implements query.Source.
func (s *Source) Tables(ctx context.Context, user string, want query.TableFilter) ([]query.Table, error) {
	return readTables(ctx, func(ctx context.Context, text string, values map[string]query.Value) (io.Reader, error) {
		t, err := query.ParseText(text)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		_, err = s.Run(ctx, query.Statement{User: user, Text: t, Values: values, MaxRows: maxCatalog}, worker.Bytes{Writer: &b})
		return &b, err
	}, want)
}

// everybody owns the process of a shared catalog. It is no user's name.
const everybody = "*"

// owner is whose process a user's statements go to.
func (s *Source) owner(user string) (string, error) {
	if !auth.ValidName(user) {
		return "", problem.New(problem.Invalid, "there is no catalog for %q", user)
	}
	if s.cfg.Shared != "" {
		return everybody, nil
	}
	return user, nil
}

// order sends one order to a person's process and follows it to its end.
func (s *Source) order(ctx context.Context, user string, ask frame.Ask, in io.Reader, out query.Output) (frame.Done, error) {
	owner, err := s.owner(user)
	if err != nil {
		return frame.Done{}, err
	}
	return s.pool.Do(ctx, owner, ask, in, out)
}

// program extracts DuckDB, once.
func (s *Source) program() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exe == "" {
		exe, err := extract(s.cfg.Dir)
		if err != nil {
			return "", err
		}
		s.exe = exe
	}
	return s.exe, nil
}

// explain says why a process did not start.
func explain(log string) string {
	if strings.Contains(log, "Could not set lock on file") {
		return "the catalog is in use by another process, and one may have it: end that one, or wait until it has ended"
	}
	return ""
}

// settings is the argument of the process.
type settings struct {
	Socket      string   `json:"socket"`
	Catalog     string   `json:"catalog"`
	Temp        string   `json:"temp"`
	Search      string   `json:"search"`
	Allowed     []string `json:"allowed"`
	Sample      string   `json:"sample"`
	Memory      string   `json:"memory"`
	Disk        string   `json:"disk"`
	Threads     int      `json:"threads"`
	IdleSeconds int      `json:"idleSeconds"`
	Shared      bool     `json:"shared,omitempty"` // several people are in it
}
