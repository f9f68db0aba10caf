// Package problem is the error type of Quire: what was being done, to which
// thing, why it failed and of which kind the failure is.
//
// It is a leaf: it imports nothing of ours, and every package may import it.
package problem

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind classifies a failure. The list is closed; the HTTP status of a kind is
// decided in package api and its exit status in package cli, nowhere else.
type Kind int

// The kinds of failure. The zero value, Internal, is a fault of Quire itself.
const (
	Internal    Kind = iota // a fault of ours
	Invalid                 // the input is wrong; asking again will not help
	NotFound                // the named thing does not exist
	Exists                  // the named thing exists already
	Denied                  // the caller may not do this
	Conflict                // the thing changed since the caller looked
	TooLarge                // over a limit that the message names
	Timeout                 // it took longer than the limit that the message names
	Canceled                // the caller, or a person, asked to stop
	Unavailable             // something that is needed does not answer now
)

var kindNames = [...]string{
	"internal", "invalid", "not found", "exists", "denied", "conflict",
	"too large", "timeout", "canceled", "unavailable",
}

// String returns the kind in lower-case words, as they appear in JSON.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "internal"
	}
	return kindNames[k]
}

// Error is a failure with its kind. Users see Op and Msg; logs see Err too.
type Error struct {
	Kind Kind
	Op   string // what was being done, to which thing: "reading notebook a.ipynb"; may be empty
	Msg  string // why, and what to do next, in one line for a person; may be empty when Err says it
	Err  error  // the cause; may be nil
}

// Error returns "op: msg: cause", leaving out what is empty.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Msg != "" {
		parts = append(parts, e.Msg)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if len(parts) == 0 {
		return e.Kind.String()
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the given kind with a formatted message.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// Wrap adds what was being done to err and keeps its kind. It returns nil when
// err is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Op: fmt.Sprintf(format, args...), Err: err}
}

// WrapAs is Wrap with the kind given by the caller.
func WrapAs(kind Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Op: fmt.Sprintf(format, args...), Err: err}
}

// KindOf returns the kind of the outermost Error in err's chain. A context's
// end is Canceled or Timeout; every other error is Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
