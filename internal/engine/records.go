package engine

import (
	"encoding/json"
	"fmt"

	"quire/internal/notebook"
)

// The mime types by which a notebook tells the engine something.
const (
	recordMime          = "application/x-quire-record"
	papermillRecordMime = "application/papermill.record+json"
	checkpointMime      = "application/x-quire-checkpoint"
)

// The bounds of recorded values. A value beyond them stays in the cell's
// output and is left out of Result.Records, with a warning.
const (
	maxRecords     = 10_000
	maxRecordBytes = 1 << 20
	maxRecordTotal = 16 << 20
	maxRecordName  = 256
)

// A Record is a value that the notebook recorded by displaying the mime type
// application/x-quire-record: {"name": ..., "value": ...}.
type Record struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"` // any JSON value, at most 1 MiB, secrets masked
	Cell  int             `json:"cell"`  // number of the cell that recorded it, as in notebook.Numbers
}

// observe looks for records and checkpoints in an output, already masked.
func (r *run) observe(c *cellState, o *notebook.Output) {
	if v, ok := o.Data[recordMime]; ok {
		var rec struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(jsonOf(v), &rec); err != nil || rec.Name == "" {
			r.warn(r.label(c.index) + ": a record without a name, or not JSON: it is left out")
		} else {
			r.addRecord(c, rec.Name, rec.Value)
		}
	}
	if v, ok := o.Data[papermillRecordMime]; ok {
		var values map[string]json.RawMessage
		if err := json.Unmarshal(jsonOf(v), &values); err == nil {
			for name, value := range values {
				r.addRecord(c, name, value)
			}
		}
	}
	if v, ok := o.Data[checkpointMime]; ok {
		c.checkpoint = true
		var cp struct {
			Names []string `json:"names"`
		}
		if json.Unmarshal(jsonOf(v), &cp) == nil {
			if len(cp.Names) > 100 {
				cp.Names = cp.Names[:100]
			}
			i := c.index
			r.emit(Event{Type: EventCheckpoint, Cell: r.numbers[i], Index: &i, Names: cp.Names})
		}
	}
}

// addRecord keeps a record, the last one of a name in force.
func (r *run) addRecord(c *cellState, name string, value json.RawMessage) {
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	if len(name) > maxRecordName || len(value) > maxRecordBytes ||
		len(r.result.Records) >= maxRecords || r.recordBytes+len(value) > maxRecordTotal {
		r.warn(fmt.Sprintf("%s: record %q is over a limit (%d records, %s each, %s in all) and is left out of the results",
			r.label(c.index), clip(name, 64), maxRecords, formatBytes(maxRecordBytes), formatBytes(maxRecordTotal)))
		return
	}
	r.recordBytes += len(value)
	rec := Record{Name: name, Value: value, Cell: r.numbers[c.index]}
	r.result.Records = append(r.result.Records, rec)
	if string(value) == "false" {
		c.falseChecks = append(c.falseChecks, name)
	}
	i := c.index
	r.emit(Event{Type: EventRecord, Cell: r.numbers[i], Index: &i, Record: &rec})
}

// jsonOf returns the JSON text of a mime bundle's value. Kernels also send JSON
// types as strings holding JSON.
func jsonOf(v any) []byte {
	switch v := v.(type) {
	case notebook.Raw:
		var s string
		if len(v) > 0 && v[0] == '"' && json.Unmarshal(v, &s) == nil {
			return []byte(s)
		}
		return v
	case string:
		return []byte(v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}
