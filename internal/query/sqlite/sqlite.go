// Package sqlite is the source for files of SQLite. It reads them and changes
// nothing.
//
// A statement may take as much memory and time as it likes, so that it runs in a
// process of its own for each person: this same program, started again with
// Command, in a container that sees the folder of the file, read-only, and has
// neither a network nor anything else of the machine. What a statement may do is
// decided by SQLite's authorizer there: SELECT, and what it needs.
package sqlite

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/worker"
)

// Command is the argument with which this program becomes the process.
const Command = "sqlite-engine"

// Config is what the source needs. The zero value of a number is its default.
type Config struct {
	// File is the path of the file. One that is not absolute is in Files, as
	// shared/orders.db.
	File  string
	Files string // the volume's directory
	Dir   string // for what the processes need; made when it is missing
	// Executable is this program.
	Executable string
	Driver     compute.Driver // where the processes run
	Label      string         // of the processes' containers, so that a later server finds them; of no other source

	MemoryBytes int64         // of one process. Default 1 GiB
	DiskBytes   int64         // for what does not fit in its memory. Default 4 GiB
	Idle        time.Duration // how long a process waits for the next statement. Default 5 min
	Log         *slog.Logger
}

// Source sends statements to each person's process.
type Source struct {
	cfg    Config
	folder string // that the processes see
	pool   *worker.Pool
}

var _ query.Source = (*Source)(nil)

// New returns a Source. It starts nothing, and the file need not be there yet.
// The caller closes it.
func New(cfg Config) (*Source, error) {
	if cfg.MemoryBytes == 0 {
		cfg.MemoryBytes = compute.GiB
	}
	if cfg.DiskBytes == 0 {
		cfg.DiskBytes = 4 * compute.GiB
	}
	if cfg.Idle == 0 {
		cfg.Idle = 5 * time.Minute
	}
	var err error
	if cfg.Executable, err = filepath.EvalSymlinks(cfg.Executable); err != nil {
		return nil, problem.WrapAs(problem.Internal, err, "finding this program")
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "finding the folder of SQLite's processes")
	}
	s := &Source{}
	if cfg.File, s.folder, err = whereIs(cfg.File, cfg.Files); err != nil {
		return nil, err
	}
	s.cfg = cfg
	s.pool = worker.New(worker.Config{Engine: "SQLite", Driver: cfg.Driver, Label: cfg.Label, MemoryBytes: cfg.MemoryBytes, Log: cfg.Log, Place: s.place})
	return s, nil
}

// whereIs returns where a file is, and the folder that a process is shown. What
// is below that may be changed by somebody hostile: no link there is followed. So
// of the volume it is a workspace as a whole, or shared/.
func whereIs(file, files string) (at, folder string, err error) {
	if filepath.IsAbs(file) {
		at = filepath.Clean(file)
		return at, filepath.Dir(at), nil
	}
	wrong := problem.New(problem.Invalid, "dsn: want the path of a file: /data/orders.db, or shared/orders.db and users/ann/orders.db of the volume")
	if !filepath.IsLocal(file) || files == "" {
		return "", "", wrong
	}
	parts := strings.Split(filepath.ToSlash(filepath.Clean(file)), "/")
	switch {
	case parts[0] == "shared" && len(parts) > 1:
		folder = filepath.Join(files, "shared")
	case parts[0] == "users" && len(parts) > 2:
		folder = filepath.Join(files, "users", parts[1])
	default:
		return "", "", wrong
	}
	return filepath.Join(files, filepath.FromSlash(file)), folder, nil
}

// Engine implements query.Source.
func (*Source) Engine() string { return "sqlite" }

// Explain implements query.Explainer: EXPLAIN alone lists the instructions.
func (*Source) Explain() string { return "EXPLAIN QUERY PLAN " }

// Close ends the processes.
func (s *Source) Close() error { return s.pool.Close() }

// Run implements query.Source.
func (s *Source) Run(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
	b, err := st.Text.Bind(query.Question, st.Values)
	if err != nil {
		return query.Outcome{}, err
	}
	if !auth.ValidName(st.User) {
		return query.Outcome{}, problem.New(problem.Invalid, "there is no user %q", st.User)
	}
	return s.pool.Run(ctx, st.User, st, b, nil, out)
}

// Load implements query.Source: nothing is written.
func (*Source) Load(context.Context, string, query.Target, io.Reader) (int64, error) {
	return 0, problem.New(problem.Denied, "connections to SQLite only read: write to another one")
}

// maxCatalog is how many columns are read of a catalog.
const maxCatalog = 200_000

const (
	tablesText = `SELECT name, CASE type WHEN 'view' THEN 'view' ELSE 'table' END FROM sqlite_schema
		WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY 1`
	columnsText = `SELECT m.name, c.name, c.type, c."notnull" FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c
		WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND c.hidden <> 1 ORDER BY 1, c.cid`
)

// Tables implements query.Source.
func (s *Source) Tables(ctx context.Context, user string, want query.TableFilter) ([]query.Table, error) {
	var all []query.Table
	at := map[string]int{}
	err := s.rows(ctx, user, tablesText, func(v []string) {
		at[v[0]] = len(all)
		all = append(all, query.Table{Schema: "main", Name: v[0], Kind: v[1]})
	})
	if err == nil && (want.Columns || want.Name != "" || want.Search != "") {
		err = s.rows(ctx, user, columnsText, func(v []string) {
			if i, ok := at[v[0]]; ok {
				nullable := v[3] == "0"
				all[i].Columns = append(all[i].Columns, query.Column{Name: v[1], Type: v[2], Nullable: &nullable})
			}
		})
	}
	if err != nil {
		return nil, problem.Wrap(err, "reading the catalog")
	}
	return query.ChooseTables(all, want), nil
}

// rows runs a statement of our own.
func (s *Source) rows(ctx context.Context, user, text string, row func([]string)) error {
	t, err := query.ParseText(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := s.Run(ctx, query.Statement{User: user, Text: t, MaxRows: maxCatalog}, worker.Bytes{Writer: &b}); err != nil {
		return err
	}
	return query.ReadRows(&b, func([]string) error { return nil }, func(v []string, _ []bool) error {
		row(v)
		return nil
	})
}

// settings is the argument of the process.
type settings struct {
	Socket      string `json:"socket"` // to listen on
	File        string `json:"file"`
	Folder      string `json:"folder"` // whose own path holds no link
	Temp        string `json:"temp"`   // for what does not fit in the memory
	Memory      int64  `json:"memory"` // bytes
	Disk        int64  `json:"disk"`   // bytes of one temporary file
	IdleSeconds int    `json:"idleSeconds"`
}

// place is where a person's process runs, with the folders that it sees.
func (s *Source) place(ctx context.Context, user, id string) (worker.Place, error) {
	cfg := s.cfg
	folder, err := filepath.EvalSymlinks(s.folder)
	if err != nil {
		return worker.Place{}, problem.New(problem.Unavailable, "the folder of its file is not there: ask who keeps this connection")
	}
	rest, err := filepath.Rel(s.folder, cfg.File)
	if err != nil {
		return worker.Place{}, problem.WrapAs(problem.Internal, err, "finding the file")
	}
	home := filepath.Join(cfg.Dir, user)
	temp, run := filepath.Join(home, "temp"), filepath.Join(home, "run", id)
	_ = os.RemoveAll(temp) // what a process before this one has left
	for _, dir := range []string{temp, run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return worker.Place{}, problem.WrapAs(problem.Unavailable, err, "making room for SQLite")
		}
	}
	place := worker.Place{Socket: filepath.Join(run, "socket")}
	set := settings{
		Socket: place.Socket, File: filepath.Join(folder, rest), Folder: folder, Temp: temp,
		Memory: cfg.MemoryBytes * 3 / 4, Disk: cfg.DiskBytes, IdleSeconds: int(cfg.Idle.Seconds()),
	}
	mounts := []compute.Mount{
		{Source: cfg.Executable, Target: cfg.Executable, ReadOnly: true}, {Source: folder, Target: folder, ReadOnly: true}, {Source: temp, Target: temp},
	}
	if worker.Isolated(ctx, cfg.Driver) {
		set.Socket = "/quire/socket" // the path of a socket may not be long
		mounts = append(mounts, compute.Mount{Source: run, Target: "/quire"})
	}
	argument, err := worker.Argument(set)
	place.Spec = compute.Spec{
		Argv: []string{cfg.Executable, Command, argument}, Dir: temp, Mounts: mounts,
		Env: map[string]string{"GOMEMLIMIT": "256MiB", "HOME": temp, "SQLITE_TMPDIR": temp},
	}
	return place, err
}
