// Package search finds notebooks by what is in them: name, title, authors,
// tags, text and code, cell by cell. It also lists the notebooks that describe
// themselves, as Commuter's discover page does.
package search

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
)

// A Document is what is kept of one notebook.
type Document struct {
	Path        string
	Stamp       string // changes when the file does
	Title       string
	Authors     string
	Tags        string // joined by ", "
	Description string
	Image       string // "data:image/..." or a URL, as the notebook says; "" for none
	Modified    time.Time
	Cells       []Cell
}

// A Cell is the searchable text of one cell.
type Cell struct {
	Anchor string // id of the cell in the notebook, "" when it has none
	Index  int    // from 0, as in notebook.Numbers; -1 is a cell that a run put in
	Text   string
}

// A Hit is a cell, a notebook as a whole (Index -1) or a run of one (Run is not
// empty) that matches.
type Hit struct {
	Path    string `json:"path"`
	Run     string `json:"run,omitempty"`   // id of the run whose notebook, parameters or tags match
	Owner   string `json:"owner,omitempty"` // of the run
	Title   string `json:"title"`
	Anchor  string `json:"anchor,omitempty"`
	Index   int    `json:"index"`
	Snippet string `json:"snippet"` // plain text; what matched stands between U+0002 and U+0003
}

// A Store keeps documents. It is safe for concurrent use.
type Store interface {
	// Stamps returns the stamp of every document, by path.
	Stamps(ctx context.Context) (map[string]string, error)
	// PutDocument replaces what is kept of a path.
	PutDocument(ctx context.Context, d Document) error
	// RemoveDocuments forgets a path and all below it.
	RemoveDocuments(ctx context.Context, path string) error
	// Search returns the best hits for words, of which all must match, the last
	// one also as a beginning.
	Search(ctx context.Context, words []string, limit int) ([]Hit, error)
	// SearchRuns is Search over runs: newest first.
	SearchRuns(ctx context.Context, words []string, limit int) ([]Hit, error)
	// Described returns the documents with a title or tags of their own, newest
	// first, without their cells.
	Described(ctx context.Context, limit int) ([]Document, error)
}

// Limits of what is kept.
const (
	maxCellText = 32 << 10 // bytes of one cell
	maxNotebook = 64 << 20 // bytes of a file that is indexed
	maxImage    = 64 << 10 // bytes of a picture in the metadata
	maxWords    = 16
	walkEvery   = 10 * time.Minute // for what changed outside, unseen
)

// An Index keeps a Store up to date with a volume.
type Index struct {
	Store  Store
	Volume *contents.Volume
	Log    *slog.Logger

	stop context.CancelFunc
	done sync.WaitGroup
}

// indexer reads everything; what a person finds is filtered when they ask.
var indexer = auth.User{Name: "search", Admin: true}

// Start follows the volume until Stop.
func (x *Index) Start(ctx context.Context) error {
	ctx, x.stop = context.WithCancel(context.WithoutCancel(ctx))
	changes, end := x.Volume.Changes()
	x.done.Go(func() {
		defer end()
		x.loop(ctx, changes)
	})
	return nil
}

// Stop returns when the index is at rest. Twice, or before Start, is fine.
func (x *Index) Stop() {
	if x.stop != nil {
		x.stop()
	}
	x.done.Wait()
}

func (x *Index) loop(ctx context.Context, changes <-chan string) {
	tick := time.NewTicker(walkEvery)
	defer tick.Stop()
	x.walkAll(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case path, ok := <-changes:
			if !ok {
				return
			}
			x.report(ctx, x.Update(ctx, path))
		case <-tick.C:
			x.walkAll(ctx)
		}
	}
}

func (x *Index) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && x.Log != nil {
		x.Log.LogAttrs(ctx, slog.LevelWarn, "the search index is behind", slog.String("error", err.Error()))
	}
}

// walkAll brings the whole index up to date.
func (x *Index) walkAll(ctx context.Context) {
	stamps, err := x.Store.Stamps(ctx)
	if err != nil {
		x.report(ctx, err)
		return
	}
	whole := true
	for _, top := range []string{"users", "shared"} {
		err := x.walk(ctx, top, stamps)
		x.report(ctx, err)
		whole = whole && err == nil
	}
	if !whole {
		return // what was not met may be there all the same
	}
	for path := range stamps { // what the walk did not meet is gone
		x.report(ctx, x.Store.RemoveDocuments(ctx, path))
	}
}

// walk updates everything below a directory and takes what it meets out of
// stamps.
func (x *Index) walk(ctx context.Context, dir string, stamps map[string]string) error {
	page, err := x.Volume.List(ctx, indexer, dir, contents.ListOptions{})
	if err != nil {
		return err
	}
	for _, e := range page.Entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch e.Type {
		case contents.Directory:
			err = x.walk(ctx, e.Path, stamps)
		case contents.Notebook:
			have := stamps[e.Path]
			delete(stamps, e.Path)
			if have == stampOf(e) {
				continue
			}
			err = x.put(ctx, e)
		}
		if err != nil && !problem.Is(err, problem.NotFound) && !problem.Is(err, problem.Invalid) {
			return err
		}
	}
	return nil
}

func stampOf(e contents.Entry) string {
	return e.Modified.UTC().Format(time.RFC3339Nano) + "/" + time.Duration(e.Size).String()
}

// Update brings the index up to date with what is at path now.
func (x *Index) Update(ctx context.Context, path string) error {
	e, err := x.Volume.Stat(ctx, indexer, path)
	switch {
	case problem.Is(err, problem.NotFound):
		return x.Store.RemoveDocuments(ctx, path)
	case err != nil:
		return err
	case e.Type == contents.Directory:
		return x.walk(ctx, path, map[string]string{})
	case e.Type == contents.Notebook:
		return x.put(ctx, e)
	}
	return nil
}

func (x *Index) put(ctx context.Context, e contents.Entry) error {
	if e.Size > maxNotebook {
		return nil
	}
	e, body, err := x.Volume.Read(ctx, indexer, e.Path)
	if err != nil {
		return err
	}
	defer body.Close()
	book, err := notebook.ReadBook(body)
	if err != nil {
		return x.Store.RemoveDocuments(ctx, e.Path)
	}
	d := documentOf(book.Notebook, e.Path)
	d.Stamp, d.Modified = stampOf(e), e.Modified
	return x.Store.PutDocument(ctx, d)
}

// documentOf takes what is searchable out of a notebook.
func documentOf(nb *notebook.Notebook, path string) Document {
	nteract, numbers := nb.Metadata.Object("nteract"), nb.Numbers()
	d := Document{
		Path: path, Title: nb.Metadata.String("title"), Authors: names(nb.Metadata["authors"]),
		Tags: names(nteract["tags"]), Description: nteract.String("description"), Image: imageOf(nteract),
	}
	for i, c := range nb.Cells {
		if text := strings.TrimSpace(c.Source); text != "" {
			d.Cells = append(d.Cells, Cell{Anchor: c.ID, Index: numbers[i] - 1, Text: clip(text, maxCellText)})
		}
	}
	return d
}

// imageOf returns the picture that a notebook names for itself: nteract's
// "image", or the first of its "images".
func imageOf(nteract notebook.Object) string {
	image := nteract.String("image")
	if list, ok := nteract["images"].([]any); image == "" && ok && len(list) > 0 {
		image, _ = list[0].(string)
	}
	if len(image) > maxImage {
		return ""
	}
	return image
}

// names joins a list of strings, or of objects that have a name.
func names(v any) string {
	list, _ := v.([]any)
	var all []string
	for _, one := range list {
		switch one := one.(type) {
		case string:
			all = append(all, one)
		case notebook.Object:
			all = append(all, one.String("name"))
		}
	}
	return clip(strings.Join(all, ", "), 1000)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Words takes a question apart into what is looked for.
func Words(q string) []string {
	words := strings.FieldsFunc(clip(q, 1000), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '_' })
	return words[:min(len(words), maxWords)]
}

// maxRuns is how many runs are found at most.
const maxRuns = 20

// Search returns what u may read and matches q, at most limit (0: 50) cells and
// notebooks, best first, and then a few runs, newest first.
func (x *Index) Search(ctx context.Context, u auth.User, q string, limit int) ([]Hit, error) {
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	words := Words(q)
	if len(words) == 0 {
		return nil, nil
	}
	hits, err := x.Store.Search(ctx, words, limit)
	if err != nil {
		return nil, err
	}
	runs, err := x.Store.SearchRuns(ctx, words, min(limit, maxRuns))
	var allowed []Hit
	for _, h := range append(hits, runs...) {
		object := auth.FileAt(h.Path)
		if h.Run != "" {
			object = auth.Object{Kind: auth.RunKind, Owner: h.Owner}
		}
		if auth.Allow(u, auth.Read, object) == nil {
			allowed = append(allowed, h)
		}
	}
	return allowed, err
}

// Described returns the notebooks that describe themselves and u may read,
// newest first.
func (x *Index) Described(ctx context.Context, u auth.User) ([]Document, error) {
	all, err := x.Store.Described(ctx, 500)
	allowed := all[:0]
	for _, d := range all {
		if auth.Allow(u, auth.Read, auth.FileAt(d.Path)) == nil {
			allowed = append(allowed, d)
		}
	}
	return allowed, err
}
