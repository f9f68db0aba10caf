package storage

import (
	"context"
	"io"
	"time"

	"quire/internal/problem"
)

// Store is a set of files or objects, each found by a slash-separated path that
// obeys [ValidatePath].
//
// Concurrency: every method may be called from many goroutines at once. Two Puts
// to one path end with the bytes of one of them, whole.
//
// Retries: a driver over a network repeats what is safe to repeat, within the
// limit of its Config and never past the context's end. Callers do not retry.
//
// Idempotency: Get, Stat and List change nothing. Delete of what is not there
// succeeds. An unconditional Put or Copy may be repeated; a conditional one whose
// answer got lost may report Exists or Conflict although it was done.
//
// Errors are of these kinds, with more where a method says so:
//
//	Invalid      the path breaks the rules, or names something that is no file
//	Denied       the medium refuses: permissions, credentials, read-only
//	TooLarge     over a limit that the message names
//	Timeout      the context's deadline, or the driver's own, passed
//	Canceled     the context was canceled
//	Unavailable  the medium does not answer, or has no space left
//	Internal     anything else
type Store interface {
	// Get opens path for reading. The caller closes the reader; closing it early
	// is allowed and releases the connection. Reading may fail after Get has
	// succeeded, with the kinds above. The context covers the reading too.
	// Kinds: NotFound, Invalid for a range that starts past the end.
	Get(ctx context.Context, path string, opt GetOptions) (io.ReadCloser, Info, error)

	// Put stores all that r holds at path, creating what "folders" it needs, and
	// returns what is now stored. It never closes r. When r fails, or a condition
	// does not hold, what was stored before stays as it was, and nothing new
	// appears. An error of r keeps its kind.
	// Kinds: Exists when IfNotExist is not met, Conflict when IfMatch is not met.
	Put(ctx context.Context, path string, r io.Reader, opt PutOptions) (Info, error)

	// Stat describes path without reading it. Kinds: NotFound.
	Stat(ctx context.Context, path string) (Info, error)

	// List returns one page of what is stored, in the byte order of the paths (a
	// folder sorts as its path with a slash at the end). Stored names that break
	// the rules of ValidatePath are left out, and so are a driver's own temporary
	// files. A page may hold fewer entries than asked for, even none, and still
	// have a Next. What changes during a listing may or may not be seen; what
	// does not change is seen once. A prefix that matches nothing gives an empty
	// page.
	// Kinds: Invalid for a bad token, or where the medium cannot list.
	List(ctx context.Context, opt ListOptions) (Page, error)

	// Delete removes path. That it is not there is no error.
	Delete(ctx context.Context, path string) error

	// Copy stores the bytes of src at dst, as Put would, without passing them
	// through this process where the medium can. Kinds: NotFound for src, and
	// those of Put.
	Copy(ctx context.Context, dst, src string, opt PutOptions) (Info, error)

	// Location returns path as a person would write it: "s3://bucket/a/b.ipynb",
	// "/data/a/b.ipynb". It holds no credentials. It may be called with any string.
	Location(path string) string

	// Close releases what the store holds. No method may be called after it,
	// except Close, which then does nothing. Readers still open may fail.
	Close() error
}

// Info describes one stored file or object.
type Info struct {
	// Path is the path within the store.
	Path string
	// Size is the number of bytes; -1 where the medium does not say.
	Size int64
	// ModTime is when the bytes were stored, in UTC; zero where not known.
	ModTime time.Time
	// ETag names the stored bytes: it changes when they do, and equal tags of one
	// path mean equal bytes. It is opaque, is the same from Put, Stat and Get, and
	// is what IfMatch takes. Empty where the medium has none; entries of a List
	// may have none either.
	ETag string
	// ContentType is the media type that was stored, or what the name suggests;
	// may be empty, and is in entries of a List.
	ContentType string
}

// GetOptions chooses what part of a file is read. The zero value is all of it.
type GetOptions struct {
	// Offset is the first byte to read; 0 or more. An offset equal to the size
	// gives an empty reader.
	Offset int64
	// Length is how many bytes to read at most. 0 means to the end.
	Length int64
}

// Validate returns an error of kind Invalid when o makes no sense.
func (o GetOptions) Validate() error {
	if o.Offset < 0 || o.Length < 0 {
		return problem.New(problem.Invalid, "range from %d of %d bytes: want 0 or more for both", o.Offset, o.Length)
	}
	return nil
}

// PutOptions says how a file is stored. The zero value replaces what is there.
type PutOptions struct {
	// IfNotExist makes Put fail with kind Exists when path exists already.
	IfNotExist bool
	// IfMatch, when not empty, makes Put fail with kind Conflict unless path
	// exists with this ETag.
	IfMatch string
	// ContentType is the media type to store; empty lets the driver decide.
	// A local disk keeps none.
	ContentType string
}

// Validate returns an error of kind Invalid when o contradicts itself.
func (o PutOptions) Validate() error {
	if o.IfNotExist && o.IfMatch != "" {
		return problem.New(problem.Invalid, "IfNotExist and IfMatch were both given: want at most one")
	}
	return nil
}

// Limits of a listing.
const (
	// DefaultPageSize is how many entries List returns when Limit is 0.
	DefaultPageSize = 1000
	// MaxPageSize is the largest Limit; a larger one is lowered to it.
	MaxPageSize = 1000
)

// ListOptions chooses what List returns.
type ListOptions struct {
	// Prefix is what the paths begin with; empty for all. It is a string prefix,
	// as in an object store: "a/b" matches "a/b.txt" and "a/bc/d"; to list a
	// folder give its path with a slash at the end.
	Prefix string
	// Recursive lists every file below Prefix. When false, paths that have a
	// slash after Prefix are returned once, as their folder.
	Recursive bool
	// Limit is the largest number of entries, up to MaxPageSize; 0 means
	// DefaultPageSize.
	Limit int
	// Token continues a listing: the Next of the page before, with the same
	// Prefix and Recursive. Empty starts at the beginning.
	Token string
}

// PageSize returns the number of entries that a page may hold.
func (o ListOptions) PageSize() int {
	if o.Limit <= 0 {
		return DefaultPageSize
	}
	return min(o.Limit, MaxPageSize)
}

// Validate returns an error of kind Invalid when the prefix or limit is bad.
func (o ListOptions) Validate() error {
	if o.Limit < 0 {
		return problem.New(problem.Invalid, "page limit %d: want 0 or more", o.Limit)
	}
	return ValidatePrefix(o.Prefix)
}

// Page is a part of a listing.
type Page struct {
	// Entries are sorted by path.
	Entries []Entry
	// Next continues the listing; empty when this was the last page.
	Next string
}

// Entry is one line of a listing.
type Entry struct {
	Info
	// Dir says that this is a folder: Path ends without a slash, Size is 0 and
	// the other fields are empty.
	Dir bool
}
