package spark

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"quire/internal/problem"
	"quire/internal/query"
)

// A failure is what Spark says of a statement.
type failure struct {
	problem error
	line    int // from 1; 0 is not known
	column  int // from 0, in characters
}

func (f *failure) Error() string { return f.problem.Error() }
func (f *failure) Unwrap() error { return f.problem }

// offset is the byte of the text at which it is wrong.
func (f *failure) offset(text string) int {
	if f.line < 1 {
		return -1
	}
	at := 0
	for range f.line - 1 {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return -1
		}
		at += n + 1
	}
	for range f.column {
		if at >= len(text) {
			break
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return at
}

// A detail is what Spark tells of an error when it is asked.
type detail struct {
	id      string // to ask with
	class   string // TABLE_OR_VIEW_NOT_FOUND
	state   string // 42P01
	message string
}

// explain asks Spark for all of an error, of which the call's status holds the
// beginning, and returns it as a failure. Errors of the way are returned as they are.
func (s *Source) explain(ctx context.Context, session *session, err error) error {
	var st *status
	if !errors.As(err, &st) {
		return err
	}
	d := detail{message: st.message}
	if read(st.details, func(f field) error { return d.any(f) }) != nil || d.id == "" && d.class == "" {
		return err
	}
	if d.id != "" {
		ctx, end := context.WithTimeout(ctx, 5*time.Second)
		defer end()
		request := message(nil).text(1, session.id).bytes(2, session.context()).text(3, d.id).text(4, clientType)
		// Without an answer there is the beginning.
		_ = s.client.call(ctx, "FetchErrorDetails", request, d.fetched)
	}
	return d.failure()
}

// any reads ErrorInfo, which is among the details of google.rpc.Status.
func (d *detail) any(f field) error {
	if f.id != 3 {
		return nil
	}
	kind, _, err := part(f.bytes, 1)
	value, _, err2 := part(f.bytes, 2)
	if err != nil || err2 != nil || !strings.HasSuffix(string(kind), "google.rpc.ErrorInfo") {
		return errors.Join(err, err2)
	}
	return read(value, func(f field) error {
		if f.id != 3 { // metadata
			return nil
		}
		name, _, err := part(f.bytes, 1)
		value, _, err2 := part(f.bytes, 2)
		switch string(name) {
		case "errorId":
			d.id = string(value)
		case "errorClass":
			d.class = string(value)
		case "sqlState":
			d.state = string(value)
		}
		return errors.Join(err, err2)
	})
}

// fetched reads FetchErrorDetailsResponse: the root error, or the first cause
// of it that has a class.
func (d *detail) fetched(m []byte) error {
	var all [][]byte
	root := 0
	err := read(m, func(f field) error {
		switch f.id {
		case 1:
			root = int(f.number)
		case 2:
			all = append(all, f.bytes)
		}
		return nil
	})
	for range all {
		if err != nil || root < 0 || root >= len(all) {
			break
		}
		cause := -1
		one := detail{}
		err = read(all[root], func(f field) error {
			switch f.id {
			case 2:
				one.message = string(f.bytes)
			case 4:
				cause = int(f.number)
			case 5:
				return one.throwable(f.bytes)
			}
			return nil
		})
		if one.class != "" || d.message == "" || cause < 0 {
			if one.message != "" {
				d.message = one.message
			}
			if one.class != "" {
				d.class, d.state = one.class, one.state
				break
			}
		}
		root = cause
	}
	return err
}

func (d *detail) throwable(m []byte) error {
	return read(m, func(f field) error {
		switch f.id {
		case 1:
			d.class = string(f.bytes)
		case 4:
			d.state = string(f.bytes)
		}
		return nil
	})
}

var (
	place      = regexp.MustCompile(`\(line (\d+), pos (\d+)\)|; line (\d+) pos (\d+)`)
	classMark  = regexp.MustCompile(`^\[[A-Z0-9_.]+\] `)
	behindText = regexp.MustCompile(`(?s)(?: SQLSTATE: [0-9A-Z]{5}|; line \d+ pos \d+|\n\n?== SQL).*`)
)

// failure is an error of Spark as ours.
func (d *detail) failure() error {
	f := &failure{}
	if m := place.FindStringSubmatch(d.message); m != nil {
		f.line, _ = strconv.Atoi(m[1] + m[3])
		f.column, _ = strconv.Atoi(m[2] + m[4])
	}
	text := classMark.ReplaceAllString(strings.Join(strings.Fields(behindText.ReplaceAllString(d.message, "")), " "), "")
	kind := query.KindOfState(d.state)
	switch {
	case d.state == "":
		kind = problem.Unavailable
	case kind == problem.Canceled:
		text = "Spark stopped the statement"
	}
	if text == "" {
		text = d.class
	}
	f.problem = problem.New(kind, "%s", text)
	return f
}

// failed is an error of a call as ours: without address and credentials.
func (s *Source) failed(ctx context.Context, err error) error {
	var known *problem.Error
	var st *status
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &known):
		return err
	case !errors.As(err, &st):
		return problem.New(problem.Unavailable, "Spark does not answer, or the connection to it broke: try again; if it goes on, ask who keeps this connection")
	}
	switch st.code {
	case codeUnauthenticated:
		return problem.New(problem.Denied, "Spark does not accept the credentials of this connection: ask who keeps it")
	case codeDenied:
		return problem.New(problem.Denied, "Spark does not allow this: %s", st.message)
	case codeExhausted:
		return problem.New(problem.TooLarge, "Spark did not take this, or cannot send it: %s", st.message)
	case codeCanceled:
		return problem.New(problem.Canceled, "Spark stopped the statement")
	case codeUnimplemented:
		return problem.New(problem.Unavailable, "this Spark Connect server is older than 3.5: ask who keeps this connection")
	case codeNotFound:
		return problem.New(problem.NotFound, "Spark does not have this: %s", st.message)
	}
	return problem.New(problem.Unavailable, "Spark could not do this: %s", st.message)
}
