package engine

import (
	"maps"
	"time"

	"quire/internal/notebook"
)

// The states of a cell in metadata.papermill.status.
const (
	cellPending   = "pending"
	cellRunning   = "running"
	cellCompleted = "completed"
	cellFailed    = "failed"
)

// isoTime writes t as Python's datetime.isoformat does in UTC.
func isoTime(t time.Time) string {
	t = t.UTC()
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02T15:04:05") + "+00:00"
	}
	return t.Format("2006-01-02T15:04:05.000000") + "+00:00"
}

// seconds is a duration as Python's total_seconds, to the microsecond.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1e6
}

// object returns the object under key, making it when there is none.
func object(o notebook.Object, key string) notebook.Object {
	switch v := o[key].(type) {
	case notebook.Object:
		return v
	case map[string]any:
		return notebook.Object(v)
	}
	made := notebook.Object{}
	o[key] = made
	return made
}

// lookup returns the object under key, nil when there is none.
func lookup(o notebook.Object, key string) notebook.Object {
	switch v := o[key].(type) {
	case notebook.Object:
		return v
	case map[string]any:
		return notebook.Object(v)
	}
	return nil
}

// initMetadata gives notebook and cells the keys that Papermill gives them when
// it loads a notebook.
func initMetadata(nb *notebook.Notebook, version string) {
	if nb.Metadata == nil {
		nb.Metadata = notebook.Object{}
	}
	if lookup(nb.Metadata, "papermill") == nil {
		nb.Metadata["papermill"] = notebook.Object{
			"default_parameters":    notebook.Object{},
			"parameters":            notebook.Object{},
			"environment_variables": notebook.Object{},
			"version":               version,
		}
	}
	for _, c := range nb.Cells {
		if c.Metadata == nil {
			c.Metadata = notebook.Object{}
		}
		if _, ok := c.Metadata["tags"]; !ok {
			c.Metadata["tags"] = []any{}
		}
	}
}

// hideSources is report mode: every code cell's input is hidden, its other
// metadata.jupyter fields stay.
func hideSources(nb *notebook.Notebook) {
	for _, c := range nb.Cells {
		if c.Type == notebook.Code {
			jupyter := maps.Clone(lookup(c.Metadata, "jupyter"))
			if jupyter == nil {
				jupyter = notebook.Object{}
			}
			jupyter["source_hidden"] = true
			c.Metadata["jupyter"] = jupyter
		}
	}
}

// pendingCells clears what an earlier run left in the cells.
func pendingCells(nb *notebook.Notebook) {
	for _, c := range nb.Cells {
		if c.Type == notebook.Code {
			c.ExecutionCount = nil
			c.Outputs = []*notebook.Output{}
		}
		c.Metadata["papermill"] = notebook.Object{
			"exception": nil, "start_time": nil, "end_time": nil, "duration": nil, "status": cellPending,
		}
		if own := lookup(c.Metadata, "quire"); own != nil {
			c.Metadata["quire"] = declared(own)
			if len(declared(own)) == 0 {
				delete(c.Metadata, "quire")
			}
		}
	}
}

// cellKeys are the fields of a cell's metadata.quire that an author writes; all
// others are written by a run and dropped by the next one.
var cellKeys = []string{"timeoutSeconds", "retries", "retryDelaySeconds"}

func declared(own notebook.Object) notebook.Object {
	kept := notebook.Object{}
	for _, k := range cellKeys {
		if v, ok := own[k]; ok {
			kept[k] = v
		}
	}
	return kept
}

// startCell marks c as running.
func startCell(c *notebook.Cell, at time.Time) {
	c.Metadata["papermill"] = notebook.Object{
		"exception": false, "start_time": isoTime(at), "end_time": nil, "duration": nil, "status": cellRunning,
	}
}

// finishCell writes how c ended.
func finishCell(c *notebook.Cell, start, end time.Time, failed bool) {
	status := cellCompleted
	if failed {
		status = cellFailed
	}
	c.Metadata["papermill"] = notebook.Object{
		"exception": failed, "start_time": isoTime(start), "end_time": isoTime(end),
		"duration": seconds(end.Sub(start)), "status": status,
	}
}

// setOwn writes one field of a cell's metadata.quire without changing a map
// that a snapshot may share.
func setOwn(c *notebook.Cell, key string, v any) {
	own := maps.Clone(lookup(c.Metadata, "quire"))
	if own == nil {
		own = notebook.Object{}
	}
	own[key] = v
	c.Metadata["quire"] = own
}

// messageTime turns the date of a kernel's message into nbclient's form; a
// date that cannot be read becomes the given time.
func messageTime(date string, received time.Time) string {
	const form = "2006-01-02T15:04:05.000000Z"
	if len(date) == len(form) && date[len(date)-1] == 'Z' && date[19] == '.' {
		return date // the usual case: already in that form
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, date); err == nil {
			return t.UTC().Format(form)
		}
	}
	return received.UTC().Format(form)
}

// snapshotCell returns a copy of c that later changes of c do not touch, as
// long as nested metadata is replaced and not edited.
func snapshotCell(c *notebook.Cell, outputs []*notebook.Output) *notebook.Cell {
	copied := *c
	copied.Metadata = maps.Clone(c.Metadata)
	copied.Outputs = outputs
	return &copied
}

// copyObject copies an object and the two objects in it that a run edits.
func copyObject(o notebook.Object) notebook.Object {
	copied := maps.Clone(o)
	for _, key := range []string{"papermill", "quire"} {
		if own := lookup(o, key); own != nil {
			copied[key] = maps.Clone(own)
		}
	}
	return copied
}
