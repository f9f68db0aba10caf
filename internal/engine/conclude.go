package engine

import (
	"encoding/json"

	"quire/internal/notebook"
)

// conclude writes into the notebook how the run went. After it the notebook
// does not change any more.
func (r *run) conclude(env *environment) {
	end := r.now()
	res := r.result
	pm := object(r.nb.Metadata, "papermill")
	pm["end_time"], pm["duration"] = isoTime(end), seconds(end.Sub(r.start))
	pm["exception"] = nil
	if !res.Status.OK() {
		pm["exception"] = true
	}
	r.mu.Lock()
	if w := r.widgets.metadata(); w != nil {
		r.nb.Metadata["widgets"] = w
	}
	r.mu.Unlock()
	res.Cells.Pending = 0
	for _, c := range r.nb.Cells {
		if cellStatus(c) == cellPending && lookup(c.Metadata, "quire")["skipped"] == nil {
			res.Cells.Pending++
		}
	}
	if res.Error != nil {
		addMarkers(r.nb, res.Error.Index)
		res.Error.Index += 2
		initMetadata(r.nb, r.req.Version)
	}
	environment := env.object()
	res.Lock, _ = environment["lock"].(string)
	own := notebook.Object{
		"version": r.req.Version, "run": r.id, "status": string(res.Status),
		"environment": environment,
		"usage":       rawJSON(res.Usage),
		"cells":       rawJSON(res.Cells),
	}
	if res.Reason != "" {
		own["reason"] = res.Reason
	}
	if res.Error != nil {
		own["error"] = rawJSON(map[string]any{"cell": res.Error.Cell, "index": res.Error.Index, "ename": res.Error.Ename, "evalue": clip(res.Error.Evalue, 4096)})
	}
	if len(res.Records) > 0 {
		own["records"] = rawJSON(res.Records)
	}
	if len(res.Checks) > 0 {
		own["checks"] = rawJSON(res.Checks)
	}
	if names := r.secretNames(); len(names) > 0 {
		own["secrets"] = rawJSON(names)
	}
	if at := r.params.NonFinite(); len(at) > 0 {
		own["nonFiniteParameters"] = rawJSON(at) // written as "NaN" and the like in metadata.papermill.parameters
	}
	r.concludeResume(own)
	r.nb.Metadata["quire"] = own
}

// rawJSON is v as one JSON value in metadata; null when v has no JSON.
func rawJSON(v any) notebook.Raw {
	text, err := json.Marshal(v)
	if err != nil {
		return notebook.Raw("null")
	}
	return text
}
