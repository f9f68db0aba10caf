package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/duckdb"
	"quire/internal/query/postgres"
	"quire/internal/query/spark"
	"quire/internal/query/trino"
)

// A ConnectionConfig is a query engine in the configuration. The zero value of
// each limit is its default.
type ConnectionConfig struct {
	// Engine is duckdb, which is each person's own, postgres, sqlite, spark or trino.
	Engine      string `yaml:"engine"`
	Description string `yaml:"description"`
	// DSN is the engine's address with its credentials, or better a reference to
	// it: env:NAME; file:/path; stored, which quire connection set keeps
	// encrypted; or vault:PATH#FIELD, of the store that VAULT_ADDR names. For
	// sqlite it is the path of a file, as /data/orders.db or shared/orders.db.
	DSN string `yaml:"dsn"`
	// ReadOnly runs nothing that changes anything.
	ReadOnly bool `yaml:"readOnly"`
	// Users and Groups, of userGroups, may use it; "*" is everybody. Default:
	// everybody. Who is in several groups, or is named besides, has the most of each.
	Users  []string                         `yaml:"users"`
	Groups map[string]ConnectionGroupConfig `yaml:"groups"`
	// MaxRows and MaxBytes are of one result. Default: no limit, and 4 GiB.
	MaxRows  int64 `yaml:"maxRows"`
	MaxBytes int64 `yaml:"maxBytes"`
	// Timeout is of one statement. Default 1h.
	Timeout time.Duration `yaml:"timeout"`
	// Parallel is how many statements run at once. Default 4.
	Parallel int `yaml:"parallel"`
	// Shared is, for duckdb, one catalog of everybody who may use the connection, in
	// one process that sees shared/ and no person's files.
	Shared bool `yaml:"shared"`
	// MemoryBytes is, for duckdb and sqlite, the memory of each process. Default
	// 2 GiB and 1 GiB.
	MemoryBytes int64 `yaml:"memoryBytes"`
	// Default is meant where no connection is named. Default: local is.
	Default bool `yaml:"default"`
}

// A ConnectionGroupConfig is what a group of people has on a connection. What is
// left out is as the connection says for everybody.
type ConnectionGroupConfig struct {
	// ReadOnly: false lets the group change things where others only read.
	ReadOnly *bool         `yaml:"readOnly"`
	MaxRows  int64         `yaml:"maxRows"`
	MaxBytes int64         `yaml:"maxBytes"`
	Timeout  time.Duration `yaml:"timeout"`
	// Parallel is how many statements of the group's members run at once, within
	// the connection's.
	Parallel int `yaml:"parallel"`
}

// localConnection is the name of the embedded DuckDB.
const localConnection = "local"

var connectionName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

var vaultReference = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_./-]*#[A-Za-z0-9_.-]+$`)

// validateConnections checks the query engines.
func (c *Config) validateConnections() (wrong []string) {
	defaults := 0
	for name, one := range c.Connections {
		at := "connections: " + name + ": "
		if !connectionName.MatchString(name) {
			wrong = append(wrong, at+"want a name of up to 63 lower-case letters, digits, - and _")
		}
		if known, ok := engines()[one.Engine]; !ok {
			wrong = append(wrong, at+"engine: "+one.Engine+": want "+engineNames())
		} else if known.address && one.DSN == "" {
			wrong = append(wrong, at+"dsn: say where the engine is, best as stored, env:NAME or file:/path")
		}
		if one.Shared && one.Engine != "duckdb" {
			wrong = append(wrong, at+"shared: only a catalog of duckdb is")
		}
		if one.Engine == "sqlite" && strings.HasPrefix(one.DSN, "file:") {
			wrong = append(wrong, at+"dsn: of sqlite it is the path of the file itself, without file:")
		}
		if ref, ok := strings.CutPrefix(one.DSN, vaultPrefix); ok && !vaultReference.MatchString(ref) {
			wrong = append(wrong, at+"dsn: want vault:PATH#FIELD, as vault:secret/data/warehouse#dsn")
		}
		if one.MaxRows < 0 || one.MaxBytes < 0 || one.Timeout < 0 || one.Parallel < 0 || one.MemoryBytes < 0 {
			wrong = append(wrong, at+"no limit may be below 0")
		}
		for _, u := range one.Users {
			if u != query.Everybody && !auth.ValidName(u) {
				wrong = append(wrong, at+"users: "+u+" is no user's name")
			}
		}
		wrong = append(wrong, c.validateConnectionGroups(at, one)...)
		if one.Default {
			defaults++
		}
	}
	if defaults > 1 {
		wrong = append(wrong, "connections: only one can be the default")
	}
	return wrong
}

func (c *Config) validateConnectionGroups(at string, one ConnectionConfig) (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(one.Groups)) {
		if unknown := c.unknownGroup(name); unknown != "" {
			wrong = append(wrong, at+unknown)
		}
		g := one.Groups[name]
		if g.MaxRows < 0 || g.MaxBytes < 0 || g.Timeout < 0 || g.Parallel < 0 {
			wrong = append(wrong, at+"groups: "+name+": no limit may be below 0")
		}
		if g.ReadOnly != nil && !*g.ReadOnly && one.Engine == "sqlite" {
			wrong = append(wrong, at+"groups: "+name+": readOnly: connections to sqlite only read")
		}
		if most := cmp.Or(one.Parallel, query.DefaultParallel); g.Parallel > most {
			wrong = append(wrong, fmt.Sprintf("%sgroups: %s: parallel: %d is above the connection's, which is %d", at, name, g.Parallel, most))
		}
	}
	return wrong
}

// An engine makes the source of a connection.
type engine struct {
	address bool // it needs a DSN
	open    func(ctx context.Context, s *Server, name string, c ConnectionConfig, dsn string) (query.Source, error)
}

// engines returns the drivers by the name that the configuration has for them.
func engines() map[string]engine {
	return map[string]engine{
		"duckdb": {open: func(ctx context.Context, s *Server, name string, c ConnectionConfig, _ string) (query.Source, error) {
			return s.openDuckDB(ctx, name, c)
		}},
		"sqlite": {address: true, open: func(ctx context.Context, s *Server, name string, c ConnectionConfig, dsn string) (query.Source, error) {
			return s.openSQLite(ctx, name, c, dsn)
		}},
		"postgres": {address: true, open: func(_ context.Context, _ *Server, _ string, c ConnectionConfig, dsn string) (query.Source, error) {
			return postgres.New(postgres.Config{DSN: dsn, Parallel: c.Parallel})
		}},
		"spark": {address: true, open: func(_ context.Context, _ *Server, _ string, _ ConnectionConfig, dsn string) (query.Source, error) {
			return spark.New(spark.Config{DSN: dsn})
		}},
		"trino": {address: true, open: func(_ context.Context, _ *Server, _ string, _ ConnectionConfig, dsn string) (query.Source, error) {
			return trino.New(trino.Config{DSN: dsn})
		}},
	}
}

func engineNames() string {
	var names []string
	for name := range engines() {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// reference returns what a setting refers to: env:NAME, file:/path, or itself.
func reference(text string) (string, error) {
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		value := os.Getenv(name)
		if value == "" {
			return "", problem.New(problem.Invalid, "the environment has no %s", name)
		}
		return value, nil
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		data, err := os.ReadFile(path)
		return strings.TrimSpace(string(data)), problem.WrapAs(problem.Invalid, err, "reading the file of a credential")
	}
	return text, nil
}

// openQueries opens the gateway with its connections. No engine is asked yet.
func (s *Server) openQueries(ctx context.Context) error {
	configured := map[string]ConnectionConfig{localConnection: {Engine: "duckdb", Description: "DuckDB, your own: tables of yours, files of your workspace, and the sample"}}
	hasDefault := false
	for name, c := range s.cfg.Connections {
		configured[name] = c
		hasDefault = hasDefault || c.Default
	}
	s.lazy = map[string]*lazySource{}
	var all []*query.Connection
	for name, c := range configured {
		source, err := s.openConnection(ctx, name, c)
		if err != nil {
			return problem.Wrap(err, "opening connection %s", name)
		}
		all = append(all, &query.Connection{
			Name: name, Description: c.Description, ReadOnly: c.ReadOnly || c.Engine == "sqlite", Users: c.Users, Groups: groupRights(c.Groups), Source: source,
			Default: c.Default || name == localConnection && !hasDefault,
			Limits:  query.Limits{MaxRows: c.MaxRows, MaxBytes: c.MaxBytes, Timeout: c.Timeout, Parallel: c.Parallel},
		})
	}
	var err error
	s.queries, err = query.New(query.Config{Store: s.db, Dir: s.data("queries"), Connections: all, Groups: s.people.Of, Log: s.log})
	if err != nil {
		return err
	}
	return s.queries.Recover(ctx)
}

// groupRights are what groups have on a connection.
func groupRights(all map[string]ConnectionGroupConfig) map[string]query.GroupRights {
	rights := map[string]query.GroupRights{}
	for name, g := range all {
		rights[name] = query.GroupRights{ReadOnly: g.ReadOnly, Limits: query.Limits{MaxRows: g.MaxRows, MaxBytes: g.MaxBytes, Timeout: g.Timeout, Parallel: g.Parallel}}
	}
	return rights
}

// openConnection makes the source of a connection.
func (s *Server) openConnection(ctx context.Context, name string, c ConnectionConfig) (query.Source, error) {
	open := func(ctx context.Context, dsn string) (query.Source, error) {
		return engines()[c.Engine].open(ctx, s, name, c, dsn)
	}
	if !later(c.DSN) {
		dsn, err := reference(c.DSN)
		if err != nil {
			return nil, err
		}
		return open(ctx, dsn)
	}
	lazy := &lazySource{engine: c.Engine, open: open, get: func(ctx context.Context) (string, error) {
		if c.DSN == storedCredential {
			return s.credentials.Get(ctx, name)
		}
		dsn, err := vaultSecret(ctx, c.DSN)
		return dsn, problem.Wrap(err, "connection %s", name)
	}}
	s.lazy[name] = lazy
	return lazy, nil
}

// sampleDelay is how long after the start the sample data is made: the start, and
// who comes first, has the machine.
const sampleDelay = 3 * time.Second

// makeSample makes the sample data in the background, until the function that it
// returns is called.
func (s *Server) makeSample(ctx context.Context) (stop func()) {
	if !s.cfg.Sample || s.duckdb == nil || !duckdb.Embedded() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.duckdb.MakeSample(ctx, sampleDelay); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "there is no sample data", slog.String("error", err.Error()))
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
