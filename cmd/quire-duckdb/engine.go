//go:build cgo && duckdb_arrow

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	duck "github.com/duckdb/duckdb-go-bindings"

	"quire/internal/query/frame"
)

// An engine is an open DuckDB.
type engine struct {
	cfg config
	db  duck.Database

	mu    sync.Mutex
	shown bool // the sample's views are there
}

// openEngine opens the database of one person and locks its configuration:
// what a statement may reach is decided here and can be changed by none.
func openEngine(cfg config) (*engine, error) {
	var options duck.Config
	if duck.CreateConfig(&options) == duck.StateError {
		return nil, errors.New("making a configuration of DuckDB")
	}
	defer duck.DestroyConfig(&options)
	for name, value := range map[string]string{
		"memory_limit":                 cfg.Memory,
		"threads":                      fmt.Sprint(max(cfg.Threads, 1)),
		"temp_directory":               cfg.Temp,
		"max_temp_directory_size":      cfg.Disk,
		"autoinstall_known_extensions": "false",
		"autoload_known_extensions":    "false",
		"allow_community_extensions":   "false",
		"allow_unsigned_extensions":    "false",
	} {
		if value == "" {
			continue
		}
		if duck.SetConfig(options, name, value) == duck.StateError {
			return nil, fmt.Errorf("setting %s of DuckDB", name)
		}
	}
	e := &engine{cfg: cfg}
	path := cfg.Catalog
	if path == "" {
		path = ":memory:"
	}
	var text string
	if duck.OpenExt(path, &e.db, options, &text) == duck.StateError {
		return nil, fmt.Errorf("opening the catalog: %s", text)
	}
	if err := e.prepare(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// prepare makes the views of the sample and closes the way out.
func (e *engine) prepare() error {
	var statements []string
	if e.cfg.Search != "" {
		statements = append(statements, "SET GLOBAL file_search_path = "+literal(e.cfg.Search))
	}
	var allowed []string
	for _, dir := range e.cfg.Allowed {
		allowed = append(allowed, literal(dir))
	}
	statements = append(statements,
		"SET GLOBAL allowed_directories = ["+strings.Join(allowed, ", ")+"]",
		"SET GLOBAL enable_external_access = false",
		"SET GLOBAL errors_as_json = true",
		"SET GLOBAL lock_configuration = true",
	)
	conn, err := e.connect()
	if err != nil {
		return err
	}
	defer duck.Disconnect(&conn)
	for _, one := range statements {
		if err := run(conn, one); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	return nil
}

// lastOfSample is the file that says that all of the sample is there.
const lastOfSample = "playback.parquet"

// showSample makes views of the sample's files once they are there. A table of
// the person's own with such a name stays what it is.
func (e *engine) showSample(conn duck.Connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shown || e.cfg.Sample == "" {
		return
	}
	if _, err := os.Stat(filepath.Join(e.cfg.Sample, lastOfSample)); err != nil {
		return
	}
	e.shown = true
	files, _ := filepath.Glob(filepath.Join(e.cfg.Sample, "*.parquet")) // the pattern is right
	for _, file := range files {
		name := quote(strings.TrimSuffix(filepath.Base(file), ".parquet"))
		if run(conn, "CREATE VIEW IF NOT EXISTS "+name+" AS SELECT * FROM read_parquet("+literal(file)+")") == nil {
			_ = run(conn, "COMMENT ON VIEW "+name+" IS 'sample data, made up'") // a table of the person's own is none
		}
	}
}

func (e *engine) connect() (duck.Connection, error) {
	var conn duck.Connection
	if duck.Connect(e.db, &conn) == duck.StateError {
		return conn, errors.New("connecting to DuckDB")
	}
	return conn, nil
}

func (e *engine) close() { duck.Close(&e.db) }

// run executes a statement of our own.
func run(conn duck.Connection, statement string) error {
	var res duck.Result
	defer duck.DestroyResult(&res)
	if duck.Query(conn, statement, &res) == duck.StateError {
		return errors.New(duck.ResultError(&res))
	}
	return nil
}

// literal is text as SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// quote is a name as SQL.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// faultOf reads an error of DuckDB, which is JSON where it can be.
func faultOf(text string, base int) *frame.Fault {
	f := &frame.Fault{Kind: "invalid", Message: text, Offset: -1}
	var said struct {
		Type     string `json:"exception_type"`
		Message  string `json:"exception_message"`
		Position string `json:"position"`
	}
	body := text
	if i := strings.IndexByte(text, '{'); i > 0 && strings.HasSuffix(text[:i], "Error: ") { // "Parser Error: {...}"
		body = text[i:]
	}
	if json.Unmarshal([]byte(body), &said) == nil && said.Type != "" {
		f.Message = strings.TrimSpace(said.Type + " Error: " + said.Message)
		var at int
		if _, err := fmt.Sscan(said.Position, &at); err == nil && said.Position != "" {
			f.Offset = base + at
		}
	}
	kind, _, _ := strings.Cut(f.Message, " Error:")
	switch kind {
	case "Catalog":
		if strings.Contains(f.Message, "does not exist") {
			f.Kind = "not found"
		}
	case "TransactionContext":
		if strings.Contains(f.Message, "onflict") {
			f.Kind, f.Message = "conflict", "somebody else changes the same at this moment: run the statement again ("+f.Message+")"
		}
	case "Permission":
		f.Kind = "denied"
	case "Out of Memory", "OutOfMemory":
		f.Kind = "memory"
	case "INTERRUPT", "Interrupt":
		f.Kind = "canceled"
	case "INTERNAL", "FATAL":
		f.Kind = "internal"
	}
	return f
}
