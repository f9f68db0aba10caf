// Package notebook is the .ipynb document: it reads nbformat 3 to 4.5,
// upgrades, validates with positions, keeps what it does not know, and writes
// byte for byte what Python's nbformat.write writes.
//
// A document is checked as a whole first (scan.go), then decoded from its bytes
// straight into the types below (read.go, v3.go, decode.go), without a tree of
// generic values in between. Strings are decoded once into memory of their own,
// and data of JSON types is copied as text (Raw), so that nothing holds on to
// the file's bytes. In numbers: reading takes the file's size twice, writing
// takes next to nothing. Metadata is decoded into generic values, which cost up
// to 40 times their text; what it may cost in all is bounded.
//
// Where Python and this package differ on purpose: what nbformat only complains
// about is refused when it is a wrong type (see Read); a missing nbformat_minor
// is written as 0; an id that is "" in 4.5 gets replaced; half a surrogate pair,
// which Python reads but cannot write, is written as the escape it was; nesting
// is limited to MaxDepth; versions 2 and 3 are not held against their schemas.
//
// A Notebook is not safe for concurrent use.
package notebook

// The format that Upgrade produces and that new notebooks have.
const (
	CurrentFormat = 4
	CurrentMinor  = 5
)

// A Notebook is one document in nbformat 4. Read upgrades version 3.
type Notebook struct {
	Format   int    // always 4 once read
	Minor    int    // 0 to 5, or newer when the file says so; 5 for what was version 2 or 3
	Metadata Object // never nil once read
	Cells    []*Cell
	Extra    Object // unknown top-level fields, kept as they are; nil when there are none

	// Warnings says what was wrong with the document that was read and was put
	// right or let pass, each with its place; at most about 100. It is not written.
	Warnings []string
}

// A CellType is the kind of a cell.
type CellType string

// The cell types of nbformat 4.
const (
	Code     CellType = "code"
	Markdown CellType = "markdown"
	RawCell  CellType = "raw"
)

// A Cell is one cell of a notebook.
type Cell struct {
	Type           CellType
	ID             string // "" in notebooks older than 4.5
	Source         string // lines joined
	Metadata       Object // never nil once read
	ExecutionCount *int64 // code cells only; nil is null
	Outputs        []*Output
	Attachments    Object // nil when absent
	Extra          Object // unknown fields; nil when there are none
}

// An OutputType is the kind of an output.
type OutputType string

// The output types of nbformat 4.
const (
	Stream        OutputType = "stream"
	DisplayData   OutputType = "display_data"
	ExecuteResult OutputType = "execute_result"
	ErrorOutput   OutputType = "error"
)

// An Output is one output of a code cell. Which fields have meaning depends on
// Type.
type Output struct {
	Type OutputType

	Name string // stream: "stdout" or "stderr"
	Text string // stream: lines joined

	Data           MimeBundle // display_data, execute_result
	Metadata       Object     // display_data, execute_result; never nil for these once read
	ExecutionCount *int64     // execute_result; nil is null

	Ename     string   // error
	Evalue    string   // error
	Traceback []string // error

	Extra Object // unknown fields; nil when there are none
}

// An Object is a JSON object. Its values are nil, bool, string, Number, Raw,
// []any and Object; int, int64, float64 and []string are accepted on writing.
// Keys are written in code point order, as Python's sort_keys does.
type Object map[string]any

// A Number is a JSON number in the text that Python's json.dumps gives it,
// including NaN, Infinity and -Infinity, which Python reads and writes.
type Number string

// A Raw is one JSON value as text, kept undecoded because it may be large. It
// is brought into Python's form when it is written.
type Raw []byte

// A MimeBundle holds an output's data by media type: a string (lines joined)
// for text and base64 types, Raw for JSON types.
type MimeBundle map[string]any
