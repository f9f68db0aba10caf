package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/notebook"
	"quire/internal/problem"
)

const (
	maxResults   = 100_000   // notebooks that are read
	maxSweepFile = 512 << 20 // bytes of a results.json
)

// A resultRow is one run in a table of results: what went in and what came out.
type resultRow struct {
	Output     string        `json:"output"`
	Status     string        `json:"status"` // as in the notebook; "unfinished" without an end, "unreadable" when it cannot be read
	Seconds    *float64      `json:"seconds"`
	Started    string        `json:"started,omitempty"`
	Parameters orderedObject `json:"parameters"`
	Records    orderedObject `json:"records"`
	Error      string        `json:"error,omitempty"`
}

// An orderedObject is a JSON object that keeps the order of its fields.
type orderedObject []orderedField

// An orderedField is one field of an orderedObject.
type orderedField struct {
	Name  string
	Value json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (o orderedObject) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), f.Value...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler. null is an empty object.
func (o *orderedObject) UnmarshalJSON(data []byte) error {
	*o = nil
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok == nil {
		return err
	} else if tok != json.Delim('{') {
		return problem.New(problem.Invalid, "want a JSON object, not %v", tok)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		text, _ := name.(string)
		*o = append(*o, orderedField{text, value})
	}
	return nil
}

// get returns the text of a field for a table: strings without their quotes.
func (o orderedObject) get(name string) string {
	for _, f := range o {
		if f.Name == name {
			var text string
			if json.Unmarshal(f.Value, &text) == nil && len(f.Value) > 0 && f.Value[0] == '"' {
				return text
			}
			return string(f.Value)
		}
	}
	return ""
}

// A resultsConfig is the command line of quire results.
type resultsConfig struct {
	asJSON, asCSV, all bool
}

func newResultsCommand(p Process) *cobra.Command {
	c := &resultsConfig{}
	cmd := &cobra.Command{
		Use:   "results [flags] PATH...",
		Short: "Show a table of finished runs: parameters, status, recorded values",
		Long: `Show a table of runs: how each ended, how long it took, the parameters that
differ and the values that the notebooks recorded. Each PATH is an output
notebook or a folder of them, of quire or of papermill, or the results.json of a
sweep.`,
		Example: "  quire results out/\n  quire results out/*.ipynb --csv > results.csv",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), p, args)
		},
		ValidArgsFunction: completeNotebooks(0),
	}
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print a JSON array with an object for each run")
	cmd.Flags().BoolVar(&c.asCSV, "csv", false, "print CSV")
	cmd.Flags().BoolVar(&c.all, "all", false, "show parameters that are the same in every run too")
	cmd.MarkFlagsMutuallyExclusive("json", "csv")
	return withExit(cmd, exitHelp)
}

func (c *resultsConfig) run(ctx context.Context, p Process, args []string) error {
	var rows []resultRow
	for _, arg := range args {
		found, err := resultFiles(arg)
		if err != nil {
			return err
		}
		for _, name := range found {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if strings.HasSuffix(name, ".json") {
				more, err := readSweep(ctx, name)
				if err != nil {
					return err
				}
				rows = append(rows, more...)
			} else if row, ok := readResult(ctx, name, name != arg); ok {
				rows = append(rows, row)
			}
		}
	}
	switch {
	case c.asJSON:
		if rows == nil {
			rows = []resultRow{}
		}
		return printJSON(p.Stdout, rows)
	case c.asCSV:
		return writeCSV(p.Stdout, rows)
	case len(rows) == 0:
		newConsole(p).Println("no runs found")
		return nil
	}
	return writeTable(p.Stdout, newConsole(p), rows, c.all)
}

// resultFiles returns the notebooks that an argument names, sorted.
func resultFiles(arg string) ([]string, error) {
	st, err := os.Stat(arg)
	if err != nil && !isURL(arg) {
		return nil, fileError(err, arg)
	}
	if err != nil || !st.IsDir() {
		return []string{arg}, nil
	}
	var files []string
	err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != arg && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(d.Name(), ".ipynb") && !strings.HasPrefix(d.Name(), "."):
			files = append(files, path)
		}
		if len(files) > maxResults {
			return problem.New(problem.TooLarge, "more than %d notebooks", maxResults)
		}
		return nil
	})
	if err != nil {
		return nil, problem.Wrap(err, "reading %s", arg)
	}
	return files, nil
}

// readSweep reads the results.json of a sweep.
func readSweep(ctx context.Context, name string) ([]resultRow, error) {
	data, err := readPath(ctx, name, maxSweepFile)
	if err == nil {
		var rows []resultRow
		if rows, err = sweepFile(data); err == nil {
			return rows, nil
		}
	}
	return nil, problem.Wrap(err, "reading results %s", shown(name))
}

// readResult reads one output notebook. A notebook that was never run is not a
// result when it was only found in a folder.
func readResult(ctx context.Context, name string, found bool) (resultRow, bool) {
	row := resultRow{Output: name, Parameters: orderedObject{}, Records: orderedObject{}}
	nb, err := loadOutput(ctx, name)
	if err != nil {
		row.Status, row.Error = "unreadable", printable(err.Error())
		return row, true
	}
	if nb.Metadata.Object("papermill") == nil && found {
		return row, false
	}
	row.fill(nb)
	return row, true
}

// fill takes what a run wrote into the metadata of its output notebook.
func (row *resultRow) fill(nb *notebook.Notebook) {
	pm, own := nb.Metadata.Object("papermill"), nb.Metadata.Object("quire")
	row.Started = pm.String("start_time")
	if n, ok := pm["duration"].(notebook.Number); ok {
		s := n.Float64()
		row.Seconds = &s
	}
	row.Status = own.String("status")
	if row.Status == "" {
		row.Status = papermillStatus(pm)
	}
	if e := own.Object("error"); e != nil {
		row.Error = strings.TrimSuffix(e.String("ename")+": "+e.String("evalue"), ": ")
	} else {
		row.Error = own.String("reason")
	}
	row.Parameters = fieldsOf(pm["parameters"])
	var records []struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	}
	if data, err := json.Marshal(plain(own["records"])); err == nil && json.Unmarshal(data, &records) == nil {
		at := map[string]int{}
		for _, r := range records {
			if i, ok := at[r.Name]; ok {
				row.Records[i].Value = r.Value
				continue
			}
			at[r.Name] = len(row.Records)
			row.Records = append(row.Records, orderedField{r.Name, r.Value})
		}
	}
}

// papermillStatus is how a run of papermill ended.
func papermillStatus(pm notebook.Object) string {
	switch {
	case pm["exception"] == true:
		return "failed"
	case pm["end_time"] == nil:
		return "unfinished"
	}
	return "succeeded"
}

// fieldsOf returns the fields of a JSON object of a notebook's metadata.
func fieldsOf(v any) orderedObject {
	fields := orderedObject{}
	data, err := json.Marshal(plain(v))
	if err != nil || json.Unmarshal(data, &fields) != nil {
		return orderedObject{}
	}
	return fields
}

// plain returns a metadata value in types that encoding/json writes as they
// are. What is no JSON, such as NaN, becomes a string.
func plain(v any) any {
	switch v := v.(type) {
	case notebook.Object:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case notebook.Number:
		if json.Valid([]byte(v)) {
			return json.Number(v)
		}
		return string(v)
	case notebook.Raw:
		if json.Valid(v) {
			return json.RawMessage(v)
		}
		return string(v)
	}
	return v
}

// columns returns the names of the parameters to show, those that differ unless
// all are asked for, and of the records, in the order of first appearance.
func columns(rows []resultRow, all bool) (parameters, records []string) {
	values := map[string]map[string]bool{}
	for _, row := range rows {
		for _, f := range row.Parameters {
			if values[f.Name] == nil {
				values[f.Name] = map[string]bool{}
				parameters = append(parameters, f.Name)
			}
		}
		for _, f := range row.Records {
			if !slices.Contains(records, f.Name) {
				records = append(records, f.Name)
			}
		}
	}
	for _, row := range rows {
		for name, seen := range values {
			seen[row.Parameters.get(name)] = true
		}
	}
	if !all && len(rows) > 1 {
		parameters = slices.DeleteFunc(parameters, func(name string) bool { return len(values[name]) < 2 })
	}
	return parameters, records
}

// writeTable writes the rows for a person.
func writeTable(out io.Writer, con *console, rows []resultRow, all bool) error {
	parameters, records := columns(rows, all)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := append([]string{"STATUS", "TIME"}, parameters...)
	head = append(append(head, records...), "OUTPUT")
	fmt.Fprintln(w, tableLine(head))
	for _, row := range rows {
		line := []string{row.Status, row.took()}
		for _, name := range parameters {
			line = append(line, row.Parameters.get(name))
		}
		for _, name := range records {
			line = append(line, row.Records.get(name))
		}
		fmt.Fprintln(w, tableLine(append(line, row.Output)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, row := range rows {
		if row.Error != "" && row.Status != "stopped" {
			con.Println(con.paint(styleError, row.Output+": "+field(row.Error, 300)))
		}
	}
	return nil
}

// tableLine joins fields, of which an empty one is a dash.
func tableLine(fields []string) string {
	line := make([]string, len(fields))
	for i, f := range fields {
		most := 40
		if i == len(fields)-1 {
			most = 1000
		}
		if line[i] = field(f, most); line[i] == "" {
			line[i] = "-"
		}
	}
	return strings.Join(line, "\t")
}

func (row resultRow) took() string {
	if row.Seconds == nil {
		return ""
	}
	return seconds(time.Duration(*row.Seconds * float64(time.Second)))
}

// writeCSV writes every parameter and record in a column of its own. A text
// that a spreadsheet would take for a formula gets an apostrophe before it.
func writeCSV(out io.Writer, rows []resultRow) error {
	parameters, records := columns(rows, true)
	w := csv.NewWriter(out)
	head := append([]string{"output", "status", "seconds", "started"}, parameters...)
	if err := w.Write(safeFields(append(append(head, records...), "error"))); err != nil {
		return err
	}
	for _, row := range rows {
		took := ""
		if row.Seconds != nil {
			took = fmt.Sprint(*row.Seconds)
		}
		line := []string{row.Output, row.Status, took, row.Started}
		for _, name := range parameters {
			line = append(line, row.Parameters.get(name))
		}
		for _, name := range records {
			line = append(line, row.Records.get(name))
		}
		if err := w.Write(safeFields(append(line, row.Error))); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func safeFields(fields []string) []string {
	for i, f := range fields {
		if f != "" && strings.ContainsRune("=+@\t\r", rune(f[0])) || len(f) > 1 && f[0] == '-' && (f[1] < '0' || f[1] > '9') && f[1] != '.' {
			fields[i] = "'" + f
		}
	}
	return fields
}

// field is one entry of a table: one line of at most n characters.
func field(text string, n int) string {
	text = strings.Join(strings.Fields(printable(text)), " ")
	if short := cut(text, n); short != text {
		return short + "…"
	}
	return text
}
