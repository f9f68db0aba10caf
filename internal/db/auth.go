package db

import (
	"context"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

var _ auth.Store = (*DB)(nil)

// PutUser implements auth.Store.
func (d *DB) PutUser(ctx context.Context, u auth.User) error {
	_, err := d.write.ExecContext(ctx, `
		INSERT INTO users (name, display_name, admin) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, admin = excluded.admin`,
		u.Name, u.DisplayName, u.Admin)
	return problem.WrapAs(problem.Unavailable, err, "keeping user %s", u.Name)
}

// User implements auth.Store.
func (d *DB) User(ctx context.Context, name string) (auth.User, error) {
	u := auth.User{Name: name}
	err := d.read.QueryRowContext(ctx, `SELECT display_name, admin FROM users WHERE name = ?`, name).
		Scan(&u.DisplayName, &u.Admin)
	return u, one(err, "user %s", name)
}

// Users implements auth.Store, ordered by name.
func (d *DB) Users(ctx context.Context) ([]auth.User, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT name, display_name, admin FROM users ORDER BY name`)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing users")
	}
	defer rows.Close()
	var users []auth.User
	for rows.Next() {
		var u auth.User
		if err := rows.Scan(&u.Name, &u.DisplayName, &u.Admin); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing users")
		}
		users = append(users, u)
	}
	return users, problem.WrapAs(problem.Unavailable, rows.Err(), "listing users")
}

// PutCredential implements auth.Store.
func (d *DB) PutCredential(ctx context.Context, c auth.Credential) error {
	_, err := d.write.ExecContext(ctx, `
		INSERT INTO credentials (hash, user_name, kind, created, expires) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (hash) DO UPDATE SET user_name = excluded.user_name, kind = excluded.kind, expires = excluded.expires`,
		string(c.Hash), c.User.Name, string(c.Kind), micros(c.Created), micros(c.Expires))
	return problem.WrapAs(problem.Unavailable, err, "keeping a credential of %s", c.User.Name)
}

// Credential implements auth.Store. A credential of a user who was removed is
// not found.
func (d *DB) Credential(ctx context.Context, h auth.Hash) (auth.Credential, error) {
	c := auth.Credential{Hash: h}
	var created, expires int64
	err := d.read.QueryRowContext(ctx, `
		SELECT u.name, u.display_name, u.admin, c.kind, c.created, c.expires
		FROM credentials c JOIN users u ON u.name = c.user_name WHERE c.hash = ?`, string(h)).
		Scan(&c.User.Name, &c.User.DisplayName, &c.User.Admin, &c.Kind, &created, &expires)
	c.Created, c.Expires = fromMicros(created), fromMicros(expires)
	return c, one(err, "this credential")
}

// DeleteCredential implements auth.Store.
func (d *DB) DeleteCredential(ctx context.Context, h auth.Hash) error {
	_, err := d.write.ExecContext(ctx, `DELETE FROM credentials WHERE hash = ?`, string(h))
	return problem.WrapAs(problem.Unavailable, err, "removing a credential")
}

// DeleteExpired implements auth.Store.
func (d *DB) DeleteExpired(ctx context.Context, now time.Time) error {
	_, err := d.write.ExecContext(ctx, `DELETE FROM credentials WHERE expires > 0 AND expires <= ?`, micros(now))
	return problem.WrapAs(problem.Unavailable, err, "removing expired credentials")
}
