//go:build cgo && duckdb_arrow

package main

import (
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	duck "github.com/duckdb/duckdb-go-bindings"

	"quire/internal/query/frame"
)

// An order is one thing that is asked for.
type order struct {
	engine *engine
	ask    frame.Ask
	out    *frame.Sender
	in     io.Reader // what is loaded

	mu       sync.Mutex
	conn     duck.Connection
	stopped  bool
	rows     int64
	affected *int64
	columns  bool // they were told
	cut      bool // there were more rows than wanted
}

func invalid(format string, args ...any) error {
	return frame.Faultf("invalid", -1, format, args...)
}

// do does the order and says how it ended.
func (o *order) do() frame.Done {
	answer, err := o.dispatch()
	return frame.Done{Rows: o.rows, Affected: o.affected, Truncated: o.cut, Answer: answer, Fault: frame.FaultOf(err, o.isStopped())}
}

func (o *order) dispatch() (json.RawMessage, error) {
	conn, err := o.engine.connect()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.conn = conn
	stopped := o.stopped
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		duck.Disconnect(&o.conn)
	}()
	if stopped {
		return nil, invalid("it was asked to stop")
	}
	o.engine.showSample(conn)
	switch o.ask.What {
	case "query":
		return nil, o.query()
	case "load":
		return nil, o.load()
	case "references":
		return o.references()
	case "parquet":
		return nil, o.parquet()
	}
	return nil, invalid("this DuckDB does not know how to do %q", o.ask.What)
}

// interrupt ends what is going on; DuckDB looks for it between two chunks.
func (o *order) interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	if o.conn.Ptr != nil {
		duck.Interrupt(o.conn)
	}
}

func (o *order) isStopped() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopped
}

// query runs the statements one after another. Each is a transaction of its
// own; the result is that of the last.
func (o *order) query() error {
	defer o.out.Tell(o.report)()
	if o.engine.cfg.Shared && spying.MatchString(o.ask.SQL) {
		return denied("several people are in this catalog: logs, profiles and query(...) are not to be had, since they could tell what the others ask")
	}
	var all duck.ExtractedStatements
	n := duck.ExtractStatements(o.conn, o.ask.SQL, &all)
	defer duck.DestroyExtracted(&all)
	if n == 0 {
		if text := duck.ExtractStatementsError(all); text != "" {
			return faultOf(text, 0)
		}
		return invalid("there is no statement in this text")
	}
	for i := range n {
		var prepared duck.PreparedStatement
		state := duck.PrepareExtractedStatement(o.conn, all, i, &prepared)
		err := error(nil)
		if state == duck.StateError {
			err = faultOf(duck.PrepareError(prepared), 0)
		} else {
			err = o.execute(prepared, i == n-1)
		}
		duck.DestroyPrepare(&prepared)
		if err != nil {
			return err
		}
	}
	return nil
}

// changes are the statements that a read-only connection does not run.
func changes(kind duck.StatementType) bool {
	switch kind {
	case duck.StatementTypeSelect, duck.StatementTypeExplain, duck.StatementTypeRelation, duck.StatementTypeVariableSet:
		return false
	}
	return true
}

// analyze is the word that makes EXPLAIN execute, wherever it stands.
var analyze = regexp.MustCompile(`(?i)\banalyz`)

// spying are functions that show, or make DuckDB note, what others ask. query
// executes a text, which could be put together of parts.
var spying = regexp.MustCompile(`(?i)(enable|disable)_(logging|profiling)|duckdb_logs|\bquery(_table)?["\s]*(\(|/\*|--)`)

func denied(text string) error {
	return &frame.Fault{Kind: "denied", Message: text, Offset: -1}
}

func (o *order) execute(prepared duck.PreparedStatement, last bool) error {
	kind := duck.PreparedStatementType(prepared)
	if o.ask.ReadOnly && (changes(kind) || kind == duck.StatementTypeExplain && analyze.MatchString(o.ask.SQL)) {
		return denied("this connection is read-only for you: the statement would change something, or it is EXPLAIN ANALYZE, which executes what it explains")
	}
	switch kind {
	case duck.StatementTypeAttach, duck.StatementTypeDetach:
		if o.engine.cfg.Shared {
			return denied("several people are in this catalog: no other is attached beside it")
		}
	case duck.StatementTypeLoad, duck.StatementTypeExtension, duck.StatementTypeUpdateExtensions:
		return denied("extensions are not installed or loaded here: parquet, json and icu are in")
	}
	if o.ask.ReadOnly {
		// What a function changes, as the next value of a sequence, is refused too.
		if err := run(o.conn, "BEGIN TRANSACTION READ ONLY"); err != nil {
			return err
		}
		defer func() { _ = run(o.conn, "ROLLBACK") }() // the connection is closed behind it
	}
	if err := o.bind(prepared); err != nil {
		return err
	}
	var pending duck.PendingResult
	defer duck.DestroyPending(&pending)
	if duck.PendingPreparedStreaming(prepared, &pending) == duck.StateError {
		return faultOf(duck.PendingError(pending), 0)
	}
	var res duck.Result
	defer duck.DestroyResult(&res)
	if duck.ExecutePending(pending, &res) == duck.StateError {
		return faultOf(duck.ResultError(&res), 0)
	}
	if !last {
		return o.drain(&res)
	}
	switch duck.ResultReturnType(res) {
	case duck.ResultTypeQueryResult:
		return o.send(&res)
	case duck.ResultTypeChangedRows:
		n := int64(duck.RowsChanged(&res))
		o.affected = &n
	}
	return nil
}

// drain runs a statement whose rows nobody wants.
func (o *order) drain(res *duck.Result) error {
	if duck.ResultReturnType(*res) != duck.ResultTypeQueryResult {
		return nil
	}
	for {
		chunk, err := next(res)
		if err != nil || chunk.Ptr == nil {
			return err
		}
		duck.DestroyDataChunk(&chunk)
	}
}

// next returns the next chunk, which is empty at the end.
func next(res *duck.Result) (duck.DataChunk, error) {
	chunk := duck.FetchChunk(*res)
	if text := duck.ResultError(res); chunk.Ptr == nil && text != "" {
		return chunk, faultOf(text, 0)
	}
	if chunk.Ptr != nil && duck.DataChunkGetSize(chunk) == 0 {
		duck.DestroyDataChunk(&chunk)
	}
	return chunk, nil
}

// send sends the rows as an Arrow stream, as DuckDB has them.
func (o *order) send(res *duck.Result) error {
	options := duck.ResultGetArrowOptions(res)
	defer duck.DestroyArrowOptions(&options)
	schema, err := o.describe(res, options)
	if err != nil {
		return err
	}
	w := ipc.NewWriter(o.out, ipc.WithSchema(schema))
	for sent := false; ; sent = true {
		chunk, err := next(res)
		if err != nil {
			return err
		}
		if chunk.Ptr == nil {
			if !sent { // the schema alone
				return w.Close()
			}
			break
		}
		err = o.sendChunk(w, options, schema, chunk)
		duck.DestroyDataChunk(&chunk)
		if err != nil {
			return err
		}
		if o.ask.MaxRows > 0 && o.rows >= o.ask.MaxRows {
			more, err := next(res)
			if err == nil && more.Ptr != nil {
				o.cut = true
				duck.DestroyDataChunk(&more)
			}
			break
		}
	}
	return w.Close()
}

func (o *order) sendChunk(w *ipc.Writer, options duck.ArrowOptions, schema *arrow.Schema, chunk duck.DataChunk) error {
	record, fault := duck.DataChunkToArrowArray(options, schema, chunk)
	defer duck.DestroyErrorData(&fault)
	if record == nil {
		return faultOf(duck.ErrorDataMessage(fault), 0)
	}
	defer func() { record.Release() }()
	if left := o.ask.MaxRows - o.rows; o.ask.MaxRows > 0 && record.NumRows() > left {
		whole := record
		record = whole.NewSlice(0, left)
		whole.Release()
		o.cut = true
	}
	if err := w.Write(record); err != nil {
		return err
	}
	o.mu.Lock()
	o.rows += record.NumRows()
	o.mu.Unlock()
	return nil
}

// describe tells the columns and returns the schema.
func (o *order) describe(res *duck.Result, options duck.ArrowOptions) (*arrow.Schema, error) {
	n := duck.ColumnCount(res)
	types, names := make([]duck.LogicalType, n), make([]string, n)
	report := frame.Report{}
	for i := range n {
		names[i], types[i] = duck.ColumnName(res, i), duck.ColumnLogicalType(res, i)
		report.Columns = append(report.Columns, frame.Column{Name: names[i]})
	}
	defer func() {
		for i := range types {
			duck.DestroyLogicalType(&types[i])
		}
	}()
	schema, fault := duck.NewArrowSchema(options, types, names)
	defer duck.DestroyErrorData(&fault)
	if schema == nil {
		return nil, faultOf(duck.ErrorDataMessage(fault), 0)
	}
	for i := range report.Columns {
		report.Columns[i].Type = typeName(types[i], schema.Field(i).Type)
	}
	return schema, o.out.SendJSON(frame.Status, report)
}

func (o *order) report() frame.Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := frame.Report{Rows: o.rows}
	progress := duck.QueryProgress(o.conn)
	if percent, _, _ := duck.QueryProgressTypeMembers(&progress); percent >= 0 {
		fraction := min(percent/100, 1)
		r.Fraction = &fraction
	}
	return r
}

// bind gives the parameters their values. $3 is the third value, in each of
// the statements.
func (o *order) bind(prepared duck.PreparedStatement) error {
	n := duck.NParams(prepared)
	for i := duck.IdxT(1); i <= n; i++ {
		name := duck.ParameterName(prepared, i)
		at, err := strconv.Atoi(name)
		if err != nil || at < 1 || at > len(o.ask.Values) {
			return invalid("parameter %s has no value: write :name and give it one", name)
		}
		value, err := valueOf(o.ask.Values[at-1])
		if err != nil {
			return err
		}
		state := duck.BindValue(prepared, i, value)
		duck.DestroyValue(&value)
		if state == duck.StateError {
			return faultOf(duck.PrepareError(prepared), 0)
		}
	}
	return nil
}
