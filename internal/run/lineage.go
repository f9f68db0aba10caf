package run

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A Dataset is a table or a file that runs write and read.
type Dataset struct {
	Kind       DatasetKind `json:"kind"`
	Connection string      `json:"connection,omitempty"` // of a table
	Owner      string      `json:"owner,omitempty"`      // of a table in somebody's own catalog, whose
	Name       string      `json:"name"`                 // of a table in lower case; of a file its path on the volume, or its address
}

// A DatasetKind is what a dataset is.
type DatasetKind string

// The kinds of datasets.
const (
	Table DatasetKind = "table" // of a connection of the data gateway
	File  DatasetKind = "file"
)

// A Use is one run's writing or reading of a dataset.
type Use struct {
	Dataset
	Run   string    `json:"run"`
	Wrote bool      `json:"wrote"`
	At    time.Time `json:"at"`
}

// The names under which a notebook records what it wrote and read besides tables
// of the gateway: a path or a list of paths each.
const (
	RecordWrote = "wrote"
	RecordRead  = "read"
)

// maxUses bounds the files that one run records.
const maxUses = 200

// Files are what a run that is over said that it wrote and read, by the values
// that it recorded under "wrote" and "read". Paths that do not name a place are
// beside the notebook.
func (r Run) Files() []Use {
	var result struct {
		Records []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"records"`
	}
	if len(r.Result) == 0 || json.Unmarshal(r.Result, &result) != nil {
		return nil
	}
	var all []Use
	for _, rec := range result.Records {
		if rec.Name != RecordWrote && rec.Name != RecordRead {
			continue
		}
		var names []string
		var one string
		if json.Unmarshal(rec.Value, &one) == nil {
			names = []string{one}
		} else if json.Unmarshal(rec.Value, &names) != nil {
			continue
		}
		for _, name := range names {
			if name = datasetPath(r.Notebook, name); name != "" && len(all) < maxUses {
				all = append(all, Use{Dataset: Dataset{Kind: File, Name: name}, Run: r.ID, Wrote: rec.Name == RecordWrote, At: r.Finished})
			}
		}
	}
	return all
}

// datasetPath is what a notebook's name of a file means, "" when it means none.
func datasetPath(notebook, name string) string {
	const most = 1024
	name = strings.TrimSpace(name)
	if name == "" || len(name) > most || strings.ContainsFunc(name, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		return ""
	}
	if strings.Contains(name, "://") {
		return name
	}
	tops := []string{"users/", "shared/", "mounts/"}
	under := func(p string) bool {
		return slices.ContainsFunc(tops, func(top string) bool { return strings.HasPrefix(p, top) })
	}
	clean := path.Clean(strings.TrimPrefix(name, "/"))
	if !under(clean) {
		clean = path.Join(path.Dir(notebook), name)
	}
	if !under(clean) {
		return ""
	}
	return clean
}

// A Lineage is what one run wrote and read.
type Lineage struct {
	Wrote []Dataset `json:"wrote"`
	Read  []Dataset `json:"read"`
}

// Lineage returns what a run wrote and read, as far as is known until now.
func (s *Runs) Lineage(ctx context.Context, u auth.User, id string) (Lineage, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return Lineage{}, err
	}
	uses, err := s.cfg.Store.LineageOfRun(ctx, r.ID)
	return lineageOf(uses), err
}

func lineageOf(uses []Use) Lineage {
	l := Lineage{Wrote: []Dataset{}, Read: []Dataset{}}
	for _, use := range uses {
		if use.Wrote {
			l.Wrote = append(l.Wrote, use.Dataset)
		} else {
			l.Read = append(l.Read, use.Dataset)
		}
	}
	return l
}

// A DatasetRun is a run that wrote or read it.
type DatasetRun struct {
	Run      string    `json:"run"`
	Notebook string    `json:"notebook"`
	Owner    string    `json:"owner"`
	State    State     `json:"state"`
	At       time.Time `json:"at"`
}

// DatasetRuns returns the newest runs that wrote, or read, a dataset, among those
// that u may see.
func (s *Runs) DatasetRuns(ctx context.Context, u auth.User, d Dataset, wrote bool, limit int) ([]DatasetRun, error) {
	if d.Kind != Table && d.Kind != File || d.Name == "" {
		return nil, problem.New(problem.Invalid, "want a table or a file")
	}
	if d.Kind == Table {
		d.Name = strings.ToLower(d.Name)
		if d.Owner == "" { // what may be in a catalog of their own is in u's
			d.Owner = u.Name
		}
	}
	if limit < 1 || limit > 500 {
		limit = 50
	}
	runs, at, err := s.cfg.Store.RunsOfDataset(ctx, d, wrote, limit)
	if err != nil {
		return nil, err
	}
	all := []DatasetRun{}
	for i, r := range runs {
		if auth.Allow(u, auth.Read, object(r)) == nil {
			all = append(all, DatasetRun{Run: r.ID, Notebook: r.Notebook, Owner: r.Owner, State: r.State, At: at[i]})
		}
	}
	return all, nil
}

// UUID is the id of a run in the form of a UUID.
func UUID(id string) string {
	b, err := idEncoding.DecodeString(id)
	if err != nil || len(b) != 16 {
		return ""
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80 // version 7: it begins with a time
	text := hex.EncodeToString(b)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// An OpenLineageConfig says how runs are told to others.
type OpenLineageConfig struct {
	Namespace string // of the jobs
	Server    string // address of the server, without a slash at its end
}

const openLineageSchema = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"

// OpenLineage is a run that is over as two events of OpenLineage 2-0-2, its
// beginning and its end.
func OpenLineage(r Run, uses []Use, cfg OpenLineageConfig) []map[string]any {
	l := lineageOf(uses)
	datasets := func(all []Dataset) []map[string]any {
		list := []map[string]any{}
		for _, d := range all {
			one := map[string]any{"namespace": cfg.Namespace, "name": d.Name}
			switch {
			case d.Kind == Table:
				one["namespace"] = strings.TrimSuffix(cfg.Namespace+"/"+d.Connection+"/"+d.Owner, "/")
			case strings.Contains(d.Name, "://"):
				scheme, rest, _ := strings.Cut(d.Name, "://")
				host, name, _ := strings.Cut(rest, "/")
				if name == "" {
					name = "/"
				}
				one["namespace"], one["name"] = scheme+"://"+host, name
			}
			list = append(list, one)
		}
		return list
	}
	facet := func(name, version string, more map[string]any) map[string]any {
		more["_producer"] = cfg.Server
		more["_schemaURL"] = "https://openlineage.io/spec/facets/" + version + "/" + name + ".json#/$defs/" + name
		return more
	}
	facets := map[string]any{}
	kind := map[State]string{Succeeded: "COMPLETE", Cancelled: "ABORT"}[r.State]
	if kind == "" {
		kind = "FAIL"
		facets["errorMessage"] = facet("ErrorMessageRunFacet", "1-0-1", map[string]any{"message": r.Reason, "programmingLanguage": "notebook"})
	}
	event := func(kind string, at time.Time, facets map[string]any) map[string]any {
		return map[string]any{
			"eventType": kind, "eventTime": at.UTC().Format(time.RFC3339Nano), "producer": cfg.Server, "schemaURL": openLineageSchema,
			"run": map[string]any{"runId": UUID(r.ID), "facets": facets},
			"job": map[string]any{"namespace": cfg.Namespace, "name": r.Notebook, "facets": map[string]any{
				"jobType":       facet("JobTypeJobFacet", "2-0-4", map[string]any{"processingType": "BATCH", "integration": "QUIRE", "jobType": "NOTEBOOK"}),
				"documentation": facet("DocumentationJobFacet", "1-1-0", map[string]any{"description": cfg.Server + "/runs/" + r.ID}),
			}},
			"inputs": datasets(l.Read), "outputs": datasets(l.Wrote),
		}
	}
	began := r.Started
	if began.IsZero() {
		began = r.Created
	}
	return []map[string]any{event("START", began, map[string]any{}), event(kind, r.Finished, facets)}
}
