package query

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A Converter is a source that makes Parquet of Arrow streams.
type Converter interface {
	Parquet(ctx context.Context, user string, arrow io.Reader, to io.Writer) error
}

// Parquet writes a result as a Parquet file. It is made by the first
// connection that can, whatever engine the result is of.
func (g *Gateway) Parquet(ctx context.Context, u auth.User, result io.Reader, to io.Writer) error {
	for _, c := range g.connections {
		if converter, ok := c.Source.(Converter); ok {
			return converter.Parquet(ctx, u.Name, result, to)
		}
	}
	return problem.New(problem.Unavailable, "no connection here can write Parquet: ask for Arrow or CSV")
}

// ConnectionName is the name of a connection that somebody may use, of the
// default one for "".
func (g *Gateway) ConnectionName(ctx context.Context, u auth.User, name string) (string, error) {
	c, _, err := g.connection(ctx, u, name)
	if err != nil {
		return "", err
	}
	return c.Name, nil
}

// Load makes or fills a table from an Arrow stream.
func (g *Gateway) Load(ctx context.Context, u auth.User, connection string, to Target, arrow io.Reader) (int64, error) {
	c, r, err := g.connection(ctx, u, connection)
	if err != nil {
		return 0, err
	}
	if r.readOnly {
		return 0, problem.New(problem.Denied, "connection %s is read-only for %s", c.Name, u.Name)
	}
	if !slices.Contains([]string{"create", "replace", "append"}, to.Mode) {
		return 0, problem.New(problem.Invalid, "mode: want create, replace or append")
	}
	if parts := SplitName(to.Name); len(parts) > 3 || slices.Contains(parts, "") {
		return 0, problem.New(problem.Invalid, "%s is no name of a table: want name, schema.name or catalog.schema.name", short(to.Name))
	}
	end, err := g.turn(ctx, c, r)
	if err != nil {
		return 0, err
	}
	defer end()
	began := g.cfg.Now().UTC()
	rows, err := c.Source.Load(ctx, u.Name, to, arrow)
	q := Query{
		ID: newID(began), State: Succeeded, Connection: c.Name, Engine: c.Source.Engine(), User: u.Name,
		Statement: "-- " + to.Mode + " " + to.Name + " from a data frame", Submitted: began, Started: began, Ended: g.cfg.Now().UTC(),
		Rows: rows, Affected: &rows, Tables: map[string][]string{Wrote: {strings.ToLower(to.Name)}},
	}
	q.DurationMs = q.Ended.Sub(q.Started).Milliseconds()
	if err != nil {
		q.State, q.Error, q.Tables = Failed, failureOf(err, nil), nil
	}
	if recording := g.cfg.Store.PutQuery(context.WithoutCancel(ctx), q); err == nil {
		err = recording
	}
	return rows, err
}

// A Description is all that is known of a table.
type Description struct {
	Connection string
	Table
	SQL       string // schema and name, as a statement has them
	Sample    *Page
	WrittenBy []Query
	ReadBy    []Query
}

// sampleLimit is how long a sample may take.
const sampleLimit = 20 * time.Second

// Describe describes a table, with as many rows of it as sample says.
func (g *Gateway) Describe(ctx context.Context, u auth.User, connection, name string, sample int) (Description, error) {
	c, _, err := g.connection(ctx, u, connection)
	if err != nil {
		return Description{}, err
	}
	if name == "" {
		return Description{}, problem.New(problem.Invalid, "name the table")
	}
	found, err := g.Tables(ctx, u, c.Name, TableFilter{Name: name, Columns: true, Limit: 1})
	if err != nil {
		return Description{}, err
	}
	d := Description{Connection: c.Name, Table: found[0]}
	d.SQL = c.fullName(Table{Schema: d.Schema, Name: d.Table.Name})
	if sample > 0 {
		if d.Sample, err = g.sample(ctx, u, c, d.Table, sample); err != nil {
			return d, err
		}
		if d.Table.Rows == nil {
			d.Table.Rows = g.count(ctx, u, c, d.Table)
		}
	}
	for _, as := range []string{d.Name, d.Schema + "." + d.Name} {
		wrote, read, err := g.Uses(ctx, u, c.Name, as)
		if err != nil {
			return d, err
		}
		d.WrittenBy, d.ReadBy = append(d.WrittenBy, wrote...), append(d.ReadBy, read...)
	}
	newest := func(a, b Query) int { return strings.Compare(b.ID, a.ID) }
	slices.SortFunc(d.WrittenBy, newest)
	slices.SortFunc(d.ReadBy, newest)
	if d.Modified == nil && len(d.WrittenBy) > 0 {
		d.Modified = &d.WrittenBy[0].Ended
	}
	return d, nil
}

// A Quoter is a source that quotes names in a way of its own.
type Quoter interface{ Quote(part string) string }

func (g *Gateway) sample(ctx context.Context, u auth.User, c *Connection, t Table, rows int) (*Page, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	text, err := ParseText("SELECT * FROM " + c.fullName(t) + " LIMIT " + strconv.Itoa(rows))
	if err != nil {
		return nil, err
	}
	var b collected
	if _, err := c.Source.Run(ctx, Statement{User: u.Name, Text: text, ReadOnly: true, MaxRows: int64(rows)}, &b); err != nil {
		return nil, err
	}
	page, err := ReadPage(&b, 0, int64(rows))
	page.Next = ""
	if len(b.columns) == len(page.Columns) {
		page.Columns = b.columns
	}
	return &page, err
}

// fullName is the name of a table as SQL of the connection's engine.
func (c *Connection) fullName(t Table) string {
	quote := QuoteName
	if own, ok := c.Source.(Quoter); ok {
		quote = own.Quote
	}
	var parts []string
	for _, part := range []string{t.Catalog, t.Schema, t.Name} {
		if part != "" {
			parts = append(parts, quote(part))
		}
	}
	return strings.Join(parts, ".")
}

// countLimit is how long the rows of a table may be counted for its page.
const countLimit = 2 * time.Second

// count counts the rows of a view, or of a table whose engine does not say; nil
// is that it takes too long, or cannot be done.
func (g *Gateway) count(ctx context.Context, u auth.User, c *Connection, t Table) *int64 {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	text, err := ParseText("SELECT count(*) AS n FROM " + c.fullName(t))
	if err != nil {
		return nil
	}
	var b collected
	if _, err := c.Source.Run(ctx, Statement{User: u.Name, Text: text, ReadOnly: true, MaxRows: 1}, &b); err != nil {
		return nil
	}
	var n *int64
	err = ReadRows(&b, func([]string) error { return nil }, func(v []string, _ []bool) error {
		counted, err := strconv.ParseInt(v[0], 10, 64)
		n = &counted
		return err
	})
	if err != nil {
		return nil
	}
	return n
}

// collected is a small result in memory.
type collected struct {
	data    []byte
	columns []Column
}

// maxCollected is the largest one, in bytes.
const maxCollected = 16 << 20

// Write implements Output.
func (b *collected) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > maxCollected {
		return 0, problem.New(problem.TooLarge, "a sample of the table is larger than %d MiB", maxCollected>>20)
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// Read implements io.Reader.
func (b *collected) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// Columns implements Output.
func (b *collected) Columns(columns []Column) { b.columns = columns }

// Progress implements Output.
func (b *collected) Progress(Progress) {}
