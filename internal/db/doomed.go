package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"quire/internal/contents"
	"quire/internal/problem"
)

var _ contents.DoomStore = (*DB)(nil)

// Doom implements contents.DoomStore.
func (d *DB) Doom(ctx context.Context, objects []string, at time.Time) error {
	return d.eachObject(ctx, objects, "dooming objects",
		`INSERT INTO doomed_objects (object, doomed) VALUES (?, ?) ON CONFLICT (object) DO NOTHING`, micros(at))
}

// ForgetDoomed implements contents.DoomStore.
func (d *DB) ForgetDoomed(ctx context.Context, objects []string) error {
	return d.eachObject(ctx, objects, "forgetting doomed objects", `DELETE FROM doomed_objects WHERE object = ?`)
}

// eachObject runs one statement for each object in one transaction.
func (d *DB) eachObject(ctx context.Context, objects []string, doing, query string, args ...any) error {
	if len(objects) == 0 {
		return nil
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		for _, object := range objects {
			if _, err := tx.ExecContext(ctx, query, append([]any{object}, args...)...); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "%s", doing)
			}
		}
		return nil
	})
}

// Spare implements contents.DoomStore. Nearly no object is doomed: then it only
// reads.
func (d *DB) Spare(ctx context.Context, object string, stale time.Time) (bool, error) {
	const doing = "taking back a doomed object"
	var claimed int64
	err := d.read.QueryRowContext(ctx, `SELECT claimed FROM doomed_objects WHERE object = ?`, object).Scan(&claimed)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, problem.WrapAs(problem.Unavailable, err, doing)
	}
	busy := false
	err = d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM doomed_objects WHERE object = ? AND claimed <= ?`, object, micros(stale))
		if err == nil {
			err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM doomed_objects WHERE object = ?)`, object).Scan(&busy)
		}
		return problem.WrapAs(problem.Unavailable, err, doing)
	})
	return busy, err
}

// ClaimDoomed implements contents.DoomStore.
func (d *DB) ClaimDoomed(ctx context.Context, doomed, stale, now time.Time, limit int) ([]string, error) {
	var claimed []string
	err := d.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `
			UPDATE doomed_objects SET claimed = ? WHERE object IN (
				SELECT object FROM doomed_objects WHERE doomed < ? AND claimed <= ? ORDER BY doomed LIMIT ?)
			RETURNING object`, micros(now), micros(doomed), micros(stale), limit)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "claiming doomed objects")
		}
		defer rows.Close()
		for rows.Next() {
			var object string
			if err := rows.Scan(&object); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "claiming doomed objects")
			}
			claimed = append(claimed, object)
		}
		return problem.WrapAs(problem.Unavailable, rows.Err(), "claiming doomed objects")
	})
	return claimed, err
}

// EachHash implements contents.DoomStore.
func (d *DB) EachHash(ctx context.Context, f func(contents.Hash) error) error {
	rows, err := d.read.QueryContext(ctx, `SELECT DISTINCT hash FROM versions`)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "listing the hashes of versions")
	}
	defer rows.Close()
	for rows.Next() {
		var hash string
		if err := rows.Scan(&hash); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "listing the hashes of versions")
		}
		if err := f(contents.Hash(hash)); err != nil {
			return err
		}
	}
	return problem.WrapAs(problem.Unavailable, rows.Err(), "listing the hashes of versions")
}
