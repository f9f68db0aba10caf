package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/api"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/query"
)

const queryLong = `Execute a SQL statement on a connection of the server and print its result. The
statement is the argument, or standard input. Parameters are written :name and
bound by the engine; they are never pasted into the text.`

type queryConfig struct {
	request    query.Request
	parameters pairs
	raw        pairs
	format     string
	output     string
	timeout    time.Duration
	maxAge     time.Duration
}

func newQueryCommand(p Process) *cobra.Command {
	c := &queryConfig{}
	cmd := &cobra.Command{
		Use:                   "query [flags] [STATEMENT]",
		DisableFlagsInUseLine: true,
		Short:                 "Execute SQL on a connection of the server",
		Long:                  queryLong,
		Example: `  quire query "SELECT country, count(*) FROM playback GROUP BY country"
  quire query -c warehouse --format csv -o fr.csv -p country FR "SELECT * FROM titles WHERE country = :country"
  quire query ls`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), p, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&c.request.Connection, "connection", "c", "", "name of the connection (default the server's default)")
	f.StringVar(&c.format, "format", "table", "json, csv, table, parquet or arrow")
	f.StringVarP(&c.output, "output", "o", "", "file for the result (default standard output)")
	f.VarP(&c.parameters, "parameters", "p", "value of a :name; True, False, None and numbers are typed, the rest is text")
	f.VarP(&c.raw, "parameters-raw", "r", "value of a :name as text, whatever it looks like")
	f.Int64Var(&c.request.MaxRows, "max-rows", 0, "stop after so many rows")
	f.DurationVar(&c.maxAge, "max-age", 0, "take a result of the same statement that is no older, as 10m")
	f.DurationVar(&c.timeout, "timeout", 0, "longest that it may take, as 90s")
	cmd.AddCommand(newQueryListCommand(p), newQueryShowCommand(p, "show QUERY", "Show a statement: what, where, how long, how many rows"),
		newQueryShowCommand(p, "cancel QUERY", "Ask a statement to stop"))
	return withExit(cmd, exitHelp)
}

func (c *queryConfig) run(ctx context.Context, p Process, args []string) (err error) {
	if err := c.read(p, args); err != nil {
		return err
	}
	cl, err := client()
	if err != nil {
		return err
	}
	q, err := cl.SubmitQuery(ctx, c.request)
	if err != nil {
		return err
	}
	con := newConsole(p)
	q, err = c.await(ctx, cl, con, q)
	con.SetStatus("")
	if err != nil {
		return err
	}
	if q.Error != nil {
		return queryError(q)
	}
	return c.print(ctx, p, cl, con, q)
}

// read puts the request together.
func (c *queryConfig) read(p Process, args []string) error {
	switch c.format {
	case "json", "csv", "table", "parquet", "arrow":
	default:
		return usageError{fmt.Errorf("--format %s: want json, csv, table, parquet or arrow", c.format)}
	}
	if len(args) == 1 && args[0] != "-" {
		c.request.Statement = args[0]
	} else {
		data, err := io.ReadAll(io.LimitReader(p.Stdin, 2<<20))
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "reading the statement from standard input")
		}
		c.request.Statement = string(data)
	}
	if strings.TrimSpace(c.request.Statement) == "" {
		return usageError{errors.New("the statement is empty")}
	}
	c.request.TimeoutSeconds, c.request.MaxAge = int64(c.timeout/time.Second), int64(c.maxAge/time.Second)
	var set parameter.Set
	for _, one := range c.parameters {
		set.Put(one.name, parameter.FromFlag(one.value))
	}
	for _, one := range c.raw {
		set.Put(one.name, parameter.FromRaw(one.value))
	}
	data, err := json.Marshal(set)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &c.request.Parameters)
}

// await follows the statement to its end; an interrupt cancels it.
func (c *queryConfig) await(ctx context.Context, cl *api.Client, con *console, q query.Query) (query.Query, error) {
	began := time.Now()
	var err error
	for !q.State.Ended() {
		wait := 20
		if con.terminal {
			wait = 1
			con.SetStatus(queryStatus(q, time.Since(began), con.unicode))
		}
		id := q.ID
		if q, err = cl.Query(ctx, id, wait); err != nil {
			if ctx.Err() != nil {
				stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				_, cancelling := cl.CancelQuery(stop, id)
				return q, errors.Join(context.Cause(ctx), cancelling)
			}
			return q, err
		}
	}
	return q, nil
}

func queryStatus(q query.Query, took time.Duration, unicode bool) string {
	text := fmt.Sprintf("%s on %s %.0f s", q.State, printable(q.Connection), took.Seconds())
	if q.Progress.Rows > 0 {
		text += fmt.Sprintf(", %d rows", q.Progress.Rows)
	}
	if q.Progress.Fraction == nil {
		return text
	}
	const width = 20
	done, left := "#", "-"
	if unicode {
		done, left = "█", "░"
	}
	n := int(*q.Progress.Fraction * width)
	return fmt.Sprintf("%s%s %3.0f %%  %s", strings.Repeat(done, n), strings.Repeat(left, width-n), *q.Progress.Fraction*100, text)
}

// queryError is a statement's failure, with its position.
func queryError(q query.Query) error {
	text := q.Error.Detail
	if q.Error.Position != nil {
		text = fmt.Sprintf("line %d, column %d: %s", q.Error.Position.Line, q.Error.Position.Column, text)
	}
	return problem.New(problem.Invalid, "%s", text)
}

// print writes the result where it is wanted.
func (c *queryConfig) print(ctx context.Context, p Process, cl *api.Client, con *console, q query.Query) (err error) {
	format := c.format
	if format == "table" || format == "json" {
		format = "arrow"
	}
	result, err := cl.QueryResult(ctx, q.ID, format)
	if err != nil {
		return err
	}
	if result == nil {
		if q.Affected != nil {
			con.Println(fmt.Sprintf("%d rows changed", *q.Affected))
		}
		return nil
	}
	defer result.Close()
	out := io.Writer(p.Stdout)
	if c.output != "" {
		file, err := os.OpenFile(c.output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "opening %s", c.output)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	switch c.format {
	case "table":
		err = writeRows(out, result, con)
	case "json":
		err = query.WriteJSONRows(out, result)
	default:
		_, err = io.Copy(out, result)
	}
	if q.Cached != nil {
		con.Println("this result is of " + stamp(q.Cached.At))
	}
	return problem.Wrap(err, "writing the result")
}

// tableRows is how many rows a table on the terminal has.
const tableRows = 1000

func writeRows(out io.Writer, result io.Reader, con *console) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := 0
	var line bytes.Buffer
	write := func(values []string, null []bool) error {
		line.Reset()
		for i, v := range values {
			if i > 0 {
				line.WriteByte('\t')
			}
			if null != nil && null[i] {
				v = "NULL"
			}
			line.WriteString(cut(strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(v)), 60))
		}
		line.WriteByte('\n')
		_, err := w.Write(line.Bytes())
		return err
	}
	err := query.ReadRows(result, func(names []string) error { return write(names, nil) }, func(values []string, null []bool) error {
		if rows++; rows > tableRows {
			return nil
		}
		return write(values, null)
	})
	if flushing := w.Flush(); err == nil {
		err = flushing
	}
	if rows > tableRows && err == nil {
		con.Println(fmt.Sprintf("%d of %d rows are shown: --format csv has all", tableRows, rows))
	}
	return err
}

func newQueryListCommand(p Process) *cobra.Command {
	var f query.Filter
	state, asJSON := "", false
	cmd := &cobra.Command{
		Use: "ls", Short: "List statements, newest first", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			f.State = query.State(state)
			all, err := cl.Queries(cmd.Context(), f)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, all)
			}
			w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "QUERY\tSTATE\tCONNECTION\tUSER\tSUBMITTED\tSECONDS\tROWS\tSTATEMENT")
			for _, q := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.2f\t%d\t%s\n", q.ID, q.State, q.Connection, q.User, stamp(q.Submitted),
					float64(q.DurationMs)/1000, q.Rows, cut(strings.Join(strings.Fields(printable(q.Statement)), " "), 60))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVarP(&f.Connection, "connection", "c", "", "only on this connection")
	cmd.Flags().StringVar(&f.User, "user", "", "only of this user")
	cmd.Flags().StringVar(&state, "state", "", "only in this state")
	cmd.Flags().IntVarP(&f.Limit, "limit", "n", 50, "how many, 1 to 500")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func newQueryShowCommand(p Process, use, short string) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: use, Short: short, Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			var q query.Query
			if strings.HasPrefix(use, "cancel") {
				q, err = cl.CancelQuery(cmd.Context(), args[0])
			} else {
				q, err = cl.Query(cmd.Context(), args[0], 0)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, q)
			}
			return showQuery(p, q)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func showQuery(p Process, q query.Query) error {
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	lines := [][2]string{
		{"query", q.ID},
		{"state", string(q.State)},
		{"connection", q.Connection + " (" + q.Engine + ")"},
		{"user", q.User},
		{"notebook", q.Notebook},
		{"run", q.Run},
		{"submitted", stamp(q.Submitted)},
		{"started", stamp(q.Started)},
		{"ended", stamp(q.Ended)},
		{"seconds", fmt.Sprintf("%.3f", float64(q.DurationMs)/1000)},
		{"rows", fmt.Sprint(q.Rows)},
		{"bytes", fmt.Sprint(q.Bytes)},
	}
	if q.Affected != nil {
		lines = append(lines, [2]string{"changed", fmt.Sprint(*q.Affected)})
	}
	if q.Cached != nil {
		lines = append(lines, [2]string{"result of", stamp(q.Cached.At)})
	}
	if q.Error != nil {
		lines = append(lines, [2]string{"error", queryError(q).Error()})
	}
	lines = append(lines, [2]string{"statement", q.Statement})
	if q.Plan != "" {
		defer func() { fmt.Fprintf(p.Stdout, "\n%s\n", printable(q.Plan)) }()
	}
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], printable(line[1]))
		}
	}
	return w.Flush()
}
