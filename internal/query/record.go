package query

import (
	"context"
	"encoding/json"
	"time"
)

// A State is where a query is.
type State string

// The states of a query, the words as in contracts: cancelled with two l.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended tells whether a query goes on no more.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled }

// A Query is the record of one statement.
type Query struct {
	ID         string              `json:"id"`
	State      State               `json:"state"`
	Connection string              `json:"connection"`
	Engine     string              `json:"engine"`
	User       string              `json:"user"`
	Statement  string              `json:"statement"`            // what looks like a secret is left out
	Parameters map[string]string   `json:"parameters,omitempty"` // as text; what looks like a secret is left out
	Notebook   string              `json:"notebook,omitempty"`
	Run        string              `json:"run,omitempty"`
	Cell       string              `json:"cell,omitempty"`
	Progress   Progress            `json:"progress"`
	Columns    []Column            `json:"columns,omitempty"`
	Rows       int64               `json:"rows"`
	Bytes      int64               `json:"bytes"` // of the result, as an Arrow stream
	Affected   *int64              `json:"affected,omitempty"`
	Truncated  bool                `json:"truncated,omitempty"` // there were more rows than maxRows
	HasResult  bool                `json:"hasResult"`           // there are, or will be, rows to fetch
	Cached     *Cached             `json:"cached,omitempty"`
	Error      *Failure            `json:"error,omitempty"`
	Submitted  time.Time           `json:"submittedAt"`
	Started    time.Time           `json:"startedAt,omitzero"`
	FirstRow   time.Time           `json:"firstRowAt,omitzero"`
	Ended      time.Time           `json:"endedAt,omitzero"`
	DurationMs int64               `json:"durationMs"` // from the start, so far
	Tables     map[string][]string `json:"tables,omitempty"`
	Plan       string              `json:"plan,omitempty"` // how the engine executes it, as it says; of one statement, not in lists
}

// Cached says that a result is an older statement's.
type Cached struct {
	At    time.Time `json:"at"` // when it was made
	Query string    `json:"query"`
}

// A Failure is why a query failed, in the form of a problem (RFC 9457).
type Failure struct {
	Type     string    `json:"type"`
	Title    string    `json:"title"`
	Status   int       `json:"status"`
	Detail   string    `json:"detail"`
	Reason   string    `json:"reason"` // the kind of the problem, in words
	Position *Position `json:"position,omitempty"`
}

// A Request asks for a statement to be executed.
type Request struct {
	Connection     string                     `json:"connection,omitempty"` // the default one when empty
	Statement      string                     `json:"statement"`
	Parameters     map[string]json.RawMessage `json:"parameters,omitempty"`
	Notebook       string                     `json:"notebook,omitempty"` // that asks, by its path
	Run            string                     `json:"run,omitempty"`      // that asks, by its id
	Cell           string                     `json:"cell,omitempty"`
	MaxRows        int64                      `json:"maxRows,omitempty"`        // stop after so many rows
	MaxAge         int64                      `json:"maxAge,omitempty"`         // in seconds: a result that is no older may be given again
	TimeoutSeconds int64                      `json:"timeoutSeconds,omitempty"` // longest that it may take
}

// A Filter chooses queries of the history, newest first.
type Filter struct {
	User       string
	Connection string
	State      State
	Notebook   string
	Run        string
	Search     string // words of the statement
	Before     string // an id: only older ones
	Limit      int    // 1 to 500; 0 is 50
}

// The sides of Query.Tables.
const (
	Wrote = "wrote"
	Read  = "read"
)

// A Store keeps the records. Implementations are safe for concurrent use. A
// missing record is an error of kind NotFound.
type Store interface {
	PutQuery(ctx context.Context, q Query) error
	Query(ctx context.Context, id string) (Query, error)
	Queries(ctx context.Context, f Filter) ([]Query, error)
	// TableQueries returns the newest queries that wrote or read a table.
	TableQueries(ctx context.Context, connection, table string, wrote bool, limit int) ([]Query, error)
	// DeleteQueries forgets what was submitted before a time.
	DeleteQueries(ctx context.Context, before time.Time) error
}
