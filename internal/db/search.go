package db

import (
	"context"
	"database/sql"
	"strings"

	"quire/internal/problem"
	"quire/internal/search"
)

var _ search.Store = (*DB)(nil)

// Stamps implements search.Store.
func (d *DB) Stamps(ctx context.Context) (map[string]string, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT path, stamp FROM search_documents`)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading the search index")
	}
	defer rows.Close()
	stamps := map[string]string{}
	for rows.Next() {
		var path, stamp string
		if err := rows.Scan(&path, &stamp); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "reading the search index")
		}
		stamps[path] = stamp
	}
	return stamps, problem.WrapAs(problem.Unavailable, rows.Err(), "reading the search index")
}

// PutDocument implements search.Store.
func (d *DB) PutDocument(ctx context.Context, doc search.Document) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		return problem.WrapAs(problem.Unavailable, putDocument(ctx, tx, doc), "indexing %s", doc.Path)
	})
}

func putDocument(ctx context.Context, tx *sql.Tx, doc search.Document) error {
	if err := removeDocuments(ctx, tx, doc.Path); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO search_documents (path, stamp, title, authors, tags, description, image, modified)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, doc.Path, doc.Stamp, doc.Title, doc.Authors, doc.Tags, doc.Description, doc.Image, micros(doc.Modified))
	if err != nil {
		return err
	}
	id, err := res.LastInsertId()
	if err != nil {
		return err
	}
	const insert = `INSERT INTO search_cells (text, document, anchor, cell) VALUES (?, ?, ?, ?)`
	// The notebook as a whole: its path's words, title and so on.
	whole := strings.Join([]string{doc.Title, strings.NewReplacer("/", " ", ".", " ").Replace(doc.Path), doc.Authors, doc.Tags, doc.Description}, "\n")
	if _, err := tx.ExecContext(ctx, insert, whole, id, "", -1); err != nil {
		return err
	}
	for _, c := range doc.Cells {
		if _, err := tx.ExecContext(ctx, insert, c.Text, id, c.Anchor, c.Index); err != nil {
			return err
		}
	}
	return nil
}

// RemoveDocuments implements search.Store.
func (d *DB) RemoveDocuments(ctx context.Context, path string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		return problem.WrapAs(problem.Unavailable, removeDocuments(ctx, tx, path), "removing %s from the search index", path)
	})
}

func removeDocuments(ctx context.Context, tx *sql.Tx, path string) error {
	const below = `path = ? OR substr(path, 1, ?) = ?`
	_, err := tx.ExecContext(ctx, `DELETE FROM search_cells WHERE document IN (SELECT id FROM search_documents WHERE `+below+`)`,
		path, runes(path)+1, path+"/")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM search_documents WHERE `+below, path, runes(path)+1, path+"/")
	return err
}

// Search implements search.Store. Every word is quoted: none of them is taken
// for FTS5's own syntax.
func (d *DB) Search(ctx context.Context, words []string, limit int) ([]search.Hit, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT s.path, s.title, c.anchor, c.cell, snippet(search_cells, 0, char(2), char(3), '…', 24)
		FROM search_cells c JOIN search_documents s ON s.id = c.document
		WHERE search_cells MATCH ? ORDER BY c.rank LIMIT ?`, matching(words), limit)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "searching")
	}
	defer rows.Close()
	var hits []search.Hit
	for rows.Next() {
		var h search.Hit
		if err := rows.Scan(&h.Path, &h.Title, &h.Anchor, &h.Index, &h.Snippet); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "searching")
		}
		hits = append(hits, h)
	}
	return hits, problem.WrapAs(problem.Unavailable, rows.Err(), "searching")
}

// matching is the query for all words, the last one also as a beginning.
func matching(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = `"` + strings.ReplaceAll(w, `"`, `""`) + `"`
	}
	return strings.Join(quoted, " AND ") + " *"
}

// SearchRuns implements search.Store.
func (d *DB) SearchRuns(ctx context.Context, words []string, limit int) ([]search.Hit, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT r.id, r.owner, r.notebook, snippet(search_runs, 0, char(2), char(3), '…', 24)
		FROM search_runs s JOIN runs r ON r.rowid = s.rowid
		WHERE search_runs MATCH ? ORDER BY s.rowid DESC LIMIT ?`, matching(words), limit)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "searching runs")
	}
	defer rows.Close()
	var hits []search.Hit
	for rows.Next() {
		h := search.Hit{Index: -1}
		if err := rows.Scan(&h.Run, &h.Owner, &h.Path, &h.Snippet); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "searching runs")
		}
		h.Title = "Run of " + h.Path[strings.LastIndexByte(h.Path, '/')+1:]
		hits = append(hits, h)
	}
	return hits, problem.WrapAs(problem.Unavailable, rows.Err(), "searching runs")
}

// Described implements search.Store.
func (d *DB) Described(ctx context.Context, limit int) ([]search.Document, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT path, title, authors, tags, description, image, modified FROM search_documents
		WHERE title <> '' OR tags <> '' ORDER BY modified DESC LIMIT ?`, limit)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing described notebooks")
	}
	defer rows.Close()
	var all []search.Document
	for rows.Next() {
		var doc search.Document
		var modified int64
		if err := rows.Scan(&doc.Path, &doc.Title, &doc.Authors, &doc.Tags, &doc.Description, &doc.Image, &modified); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing described notebooks")
		}
		doc.Modified = fromMicros(modified)
		all = append(all, doc)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "listing described notebooks")
}
