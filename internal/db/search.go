package db

import (
	"context"
	"database/sql"
	"strings"

	"quire/internal/problem"
	"quire/internal/search"
)

var _ search.Store = (*DB)(nil)

// A SearchDialect is how a kind of database finds words in texts.
type SearchDialect struct {
	// Insert adds a text: its values are the text, the document's id, the cell's
	// anchor, and its index, -1 for the notebook as a whole.
	Insert string
	// Cells finds what Words made: path, title, anchor, index and a snippet with
	// the words that were found between the characters 2 and 3; the best first.
	// Its last value is how many.
	Cells string
	// Runs finds runs in the same way: id, owner, notebook and snippet; the
	// newest first.
	Runs string
	// Words is the query for all of the words, of which there is at least one,
	// the last one also as a beginning.
	Words func([]string) string
}

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
		return problem.WrapAs(problem.Unavailable, d.putDocument(ctx, tx, doc), "indexing %s", doc.Path)
	})
}

func (d *DB) putDocument(ctx context.Context, tx *sql.Tx, doc search.Document) error {
	if err := removeDocuments(ctx, tx, doc.Path); err != nil {
		return err
	}
	var id int64
	err := tx.QueryRowContext(ctx, `INSERT INTO search_documents (path, stamp, title, authors, tags, description, image, modified)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		doc.Path, doc.Stamp, doc.Title, doc.Authors, doc.Tags, doc.Description, doc.Image, micros(doc.Modified)).Scan(&id)
	if err != nil {
		return err
	}
	// The notebook as a whole: its path's words, title and so on.
	whole := strings.Join([]string{doc.Title, strings.NewReplacer("/", " ", ".", " ").Replace(doc.Path), doc.Authors, doc.Tags, doc.Description}, "\n")
	if _, err := tx.ExecContext(ctx, d.dialect.Search.Insert, whole, id, "", -1); err != nil {
		return err
	}
	for _, c := range doc.Cells {
		if _, err := tx.ExecContext(ctx, d.dialect.Search.Insert, c.Text, id, c.Anchor, c.Index); err != nil {
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

// Search implements search.Store.
func (d *DB) Search(ctx context.Context, words []string, limit int) ([]search.Hit, error) {
	rows, err := d.read.QueryContext(ctx, d.dialect.Search.Cells, d.dialect.Search.Words(words), limit)
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

// SearchRuns implements search.Store.
func (d *DB) SearchRuns(ctx context.Context, words []string, limit int) ([]search.Hit, error) {
	rows, err := d.read.QueryContext(ctx, d.dialect.Search.Runs, d.dialect.Search.Words(words), limit)
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
