package sqlkernel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/query"
)

// errInterrupted is the end of a cell that somebody interrupted.
var errInterrupted = problem.New(problem.Canceled, "interrupted")

// session is what one cell leaves for the next.
type session struct {
	count      int
	connection string // of cells that name none; empty is the server's default
	parameters map[string]json.RawMessage
	tables     map[string]listing // by connection, for completion
}

// A listing is a catalog as it was.
type listing struct {
	tables []query.Table
	at     time.Time
}

func newSession() session {
	return session{parameters: map[string]json.RawMessage{}, tables: map[string]listing{}}
}

// An emitter publishes a message of a cell.
type emitter func(msgType string, content any)

// maxCell is the largest cell that is executed, in bytes.
const maxCell = 2 << 20

// cell executes the source of a cell: its definitions and statements in order.
func (k *kernel) cell(ctx context.Context, source string, emit emitter) error {
	switch {
	case len(source) > maxCell:
		return problem.New(problem.TooLarge, "the cell has %d bytes, over the limit of %d", len(source), maxCell)
	case !utf8.ValidString(source):
		return problem.New(problem.Invalid, "the cell is not UTF-8 text")
	}
	connection, code := connectionLine(source)
	parts := parameter.SplitSQL(code)
	if connection == "" {
		connection = k.connection
	} else if len(parts) == 0 {
		k.connection = connection
		return nil
	}
	statements := 0
	for _, p := range parts {
		if p.Name == "" {
			statements++
		}
	}
	for _, p := range parts {
		if p.Name != "" {
			if err := k.define(source, p); err != nil {
				return err
			}
			continue
		}
		statements--
		if err := k.statement(ctx, connection, source, p, statements == 0, emit); err != nil {
			return err
		}
	}
	return nil
}

var connectionForm = regexp.MustCompile(`^[ \t]*(?:--[ \t]*connection[ \t]*:|%connection\b)[ \t]*([^\s]*)[ \t]*\r?(?:\n|$)`)

// connectionLine returns the connection that the first line names, and the
// source with that line blank, so that places in it stay.
func connectionLine(source string) (name, rest string) {
	m := connectionForm.FindStringSubmatchIndex(source)
	if m == nil {
		return "", source
	}
	line := strings.TrimRight(source[:m[1]], "\r\n")
	return source[m[2]:m[3]], strings.Repeat(" ", len(line)) + source[len(line):]
}

// define takes a definition of a parameter.
func (k *kernel) define(source string, p parameter.SQLPart) error {
	if p.Text == "" {
		return nil // it must be given, by a later cell
	}
	v, err := parameter.ParseSQL(p.Text)
	if err != nil {
		return placedAt(source, p.Start, problem.Wrap(err, "parameter %s", p.Name))
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return placedAt(source, p.Start, problem.WrapAs(problem.Invalid, err, "parameter %s", p.Name))
	}
	k.parameters[p.Name] = raw
	return nil
}

// statement executes one and shows its result; last is the cell's last one.
func (k *kernel) statement(ctx context.Context, connection, source string, p parameter.SQLPart, last bool, emit emitter) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	text, err := query.ParseText(p.Text)
	if err != nil {
		return placedAt(source, p.Start, err)
	}
	values, err := k.bindings(text)
	if err != nil {
		return k.located(source, p, err)
	}
	g, err := k.cfg.Gateway()
	if err != nil {
		return err
	}
	q, err := submit(ctx, g, query.Request{
		Connection: connection, Statement: p.Text, Parameters: values, Notebook: k.cfg.Notebook, Run: k.cfg.Run,
	})
	if err == nil {
		q, err = await(ctx, g, q)
	}
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return k.located(source, p, err)
	case q.Error != nil:
		return failure(source, p, q)
	}
	delete(k.tables, connection) // it may have changed them
	return show(ctx, g, q, last, k.count, emit)
}

// bindings are the values of the parameters that a statement names.
func (k *kernel) bindings(text query.Text) (map[string]json.RawMessage, error) {
	known := map[string]query.Value{}
	values := map[string]json.RawMessage{}
	for _, name := range text.Names() {
		if raw, ok := k.parameters[name]; ok {
			known[name], values[name] = query.Value{}, raw
		}
	}
	if err := text.Check(known); err != nil {
		return nil, err
	}
	return values, nil
}

// How long the server may take to answer at once.
const (
	submitTime = 60 * time.Second
	cancelTime = 5 * time.Second
)

// submit sends a statement. An interrupt does not end it: a statement whose
// record is not known could not be cancelled.
func submit(ctx context.Context, g Gateway, req query.Request) (query.Query, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitTime)
	defer cancel()
	return g.SubmitQuery(ctx, req)
}

// await waits for the end of a statement. When ctx ends first the statement is
// cancelled, and await returns when the server knows.
func await(ctx context.Context, g Gateway, q query.Query) (query.Query, error) {
	id := q.ID
	for !q.State.Ended() {
		next, err := g.Query(ctx, id, 20)
		if err != nil {
			if ctx.Err() == nil {
				return q, err
			}
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
			defer cancel()
			_, err = g.CancelQuery(stop, id)
			return q, err
		}
		q = next
	}
	return q, nil
}

// failure is the error of a statement that ended badly.
func failure(source string, p parameter.SQLPart, q query.Query) error {
	kind := problem.Invalid
	for _, one := range []problem.Kind{
		problem.NotFound, problem.Denied, problem.TooLarge, problem.Timeout, problem.Unavailable, problem.Canceled, problem.Internal,
	} {
		if one.String() == q.Error.Reason {
			kind = one
		}
	}
	err := problem.New(kind, "%s", q.Error.Detail)
	if q.Error.Position == nil {
		return err
	}
	return placedAt(source, p.Start+offsetOf(p.Text, *q.Error.Position), err)
}

// located gives an error of the statement its place in the cell.
func (k *kernel) located(source string, p parameter.SQLPart, err error) error {
	if at, ok := query.PositionOf(err); ok {
		return placedAt(source, p.Start+offsetOf(p.Text, at), err)
	}
	return err
}

// offsetOf is where a position of a text is, in bytes.
func offsetOf(text string, at query.Position) int {
	offset := 0
	for range at.Line - 1 {
		n := strings.IndexByte(text[offset:], '\n')
		if n < 0 {
			return len(text)
		}
		offset += n + 1
	}
	for range at.Column - 1 {
		_, n := utf8.DecodeRuneInString(text[offset:])
		offset += n
	}
	return offset
}

// placed is an error at a place of a cell.
type placed struct {
	err     error
	line    int
	column  int
	excerpt []string // the line, and a mark below the place
}

func (p *placed) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", p.line, p.column, p.err)
}

func (p *placed) Unwrap() error { return p.err }

// maxExcerpt is the longest line that is shown with an error, in characters.
const maxExcerpt = 160

func placedAt(source string, offset int, err error) error {
	offset = min(max(offset, 0), len(source))
	begin := strings.LastIndexByte(source[:offset], '\n') + 1
	line, _, _ := strings.Cut(source[begin:], "\n")
	p := &placed{err: err, line: strings.Count(source[:offset], "\n") + 1, column: utf8.RuneCountInString(source[begin:offset]) + 1}
	if utf8.RuneCountInString(line) <= maxExcerpt {
		p.excerpt = []string{strings.ReplaceAll(strings.TrimRight(line, "\r"), "\t", " "), strings.Repeat(" ", p.column-1) + "^"}
	}
	return p
}

// maxPage bounds the page of a result that is shown, in bytes.
const maxPage = 64 << 20

// show publishes the result of a statement.
func show(ctx context.Context, g Gateway, q query.Query, last bool, count int, emit emitter) error {
	say := func(text string) error {
		emit("stream", map[string]string{"name": "stdout", "text": text + "\n"})
		return nil
	}
	if !q.HasResult {
		if q.Affected != nil {
			return say(fmt.Sprintf("%s changed", plural(*q.Affected, "row")))
		}
		return say("done")
	}
	body, err := g.QueryResult(ctx, q.ID, "json")
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return problem.Wrap(err, "reading the result")
	}
	if body == nil {
		return say("done")
	}
	defer body.Close()
	var page query.Page
	data, err := io.ReadAll(io.LimitReader(body, maxPage+1))
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err == nil && len(data) > maxPage:
		return problem.New(problem.TooLarge, "the first rows of the result have over %d MiB: choose fewer columns, or shorter values", maxPage>>20)
	case err == nil:
		err = json.Unmarshal(data, &page)
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "reading the result")
	}
	content := map[string]any{"data": bundle(page, q), "metadata": map[string]any{}}
	if last {
		content["execution_count"] = count
		emit("execute_result", content)
		return nil
	}
	content["transient"] = map[string]any{}
	emit("display_data", content)
	return nil
}
