package db

import (
	"context"
	"database/sql"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

var _ auth.Store = (*DB)(nil)

// PutUser implements auth.Store.
func (d *DB) PutUser(ctx context.Context, u auth.User) error {
	_, err := d.write.ExecContext(ctx, `
		INSERT INTO users (name, display_name, admin, email, disabled) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, admin = excluded.admin,
			email = excluded.email, disabled = excluded.disabled`,
		u.Name, u.DisplayName, u.Admin, u.Email, u.Disabled)
	return problem.WrapAs(problem.Unavailable, err, "keeping user %s", u.Name)
}

// PutService implements auth.Store.
func (d *DB) PutService(ctx context.Context, u auth.User) error {
	text := optionalText(u.Service != nil, u.Service)
	_, err := d.write.ExecContext(ctx, `
		INSERT INTO users (name, display_name, disabled, service) VALUES (?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, admin = FALSE, email = '',
			disabled = excluded.disabled, service = excluded.service`,
		u.Name, u.DisplayName, u.Disabled, text)
	return problem.WrapAs(problem.Unavailable, err, "keeping service identity %s", u.Name)
}

// User implements auth.Store.
func (d *DB) User(ctx context.Context, name string) (auth.User, error) {
	u, err := scanUser(d.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.name = ?`, name))
	return u, one(err, "user %s", name)
}

// Users implements auth.Store, ordered by name.
func (d *DB) Users(ctx context.Context) ([]auth.User, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT `+userColumns+` FROM users u ORDER BY u.name`)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing users")
	}
	defer rows.Close()
	var users []auth.User
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing users")
		}
		users = append(users, u)
	}
	return users, problem.WrapAs(problem.Unavailable, rows.Err(), "listing users")
}

// PutCredential implements auth.Store.
func (d *DB) PutCredential(ctx context.Context, c auth.Credential) error {
	_, err := d.write.ExecContext(ctx, `
		INSERT INTO credentials (hash, user_name, kind, created, expires, id, label, pass) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (hash) DO UPDATE SET user_name = excluded.user_name, kind = excluded.kind, expires = excluded.expires`,
		string(c.Hash), c.User.Name, string(c.Kind), micros(c.Created), micros(c.Expires), c.ID, c.Label, c.User.Pass)
	return problem.WrapAs(problem.Unavailable, err, "keeping a credential of %s", c.User.Name)
}

// Credential implements auth.Store. A credential of a user who was removed is
// not found.
func (d *DB) Credential(ctx context.Context, h auth.Hash) (auth.Credential, error) {
	c, err := scanCredential(d.read.QueryRowContext(ctx, `SELECT `+credentialColumns+`
		FROM credentials c JOIN users u ON u.name = c.user_name WHERE c.hash = ?`, string(h)))
	return c, one(err, "this credential")
}

const (
	userColumns       = `u.name, u.display_name, u.admin, u.email, u.disabled, u.service`
	credentialColumns = userColumns + `, c.hash, c.id, c.label, c.kind, c.created, c.expires, c.pass`
)

func scanUser(row interface{ Scan(...any) error }, more ...any) (u auth.User, err error) {
	var service string
	err = row.Scan(append([]any{&u.Name, &u.DisplayName, &u.Admin, &u.Email, &u.Disabled, &service}, more...)...)
	if err == nil {
		err = optional(service, &u.Service)
	}
	return u, err
}

func scanCredential(row interface{ Scan(...any) error }) (c auth.Credential, err error) {
	var created, expires int64
	pass := false
	c.User, err = scanUser(row, &c.Hash, &c.ID, &c.Label, &c.Kind, &created, &expires, &pass)
	c.User.Pass = pass
	c.Created, c.Expires = fromMicros(created), fromMicros(expires)
	return c, err
}

// Credentials implements auth.Store.
func (d *DB) Credentials(ctx context.Context, user string) ([]auth.Credential, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT `+credentialColumns+`
		FROM credentials c JOIN users u ON u.name = c.user_name WHERE u.name = ? ORDER BY c.created DESC, c.id`, user)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing the credentials of %s", user)
	}
	defer rows.Close()
	var all []auth.Credential
	for rows.Next() {
		c, err := scanCredential(rows)
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing the credentials of %s", user)
		}
		all = append(all, c)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "listing the credentials of %s", user)
}

// DeleteCredentials implements auth.Store.
func (d *DB) DeleteCredentials(ctx context.Context, user, id string) (int, error) {
	done, err := d.write.ExecContext(ctx, `DELETE FROM credentials WHERE user_name = ? AND (? = '' OR id = ?)`, user, id, id)
	if err != nil {
		return 0, problem.WrapAs(problem.Unavailable, err, "removing credentials of %s", user)
	}
	n, err := done.RowsAffected()
	return int(n), err
}

// Identity implements auth.Store.
func (d *DB) Identity(ctx context.Context, issuer, subject string) (auth.User, error) {
	u, err := scanUser(d.read.QueryRowContext(ctx, `SELECT `+userColumns+`
		FROM identities i JOIN users u ON u.name = i.user_name WHERE i.issuer = ? AND i.subject = ?`, issuer, subject))
	return u, one(err, "who signed in")
}

// PutIdentity implements auth.Store.
func (d *DB) PutIdentity(ctx context.Context, issuer, subject, user string) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO identities (issuer, subject, user_name) VALUES (?, ?, ?)
		ON CONFLICT (issuer, subject) DO UPDATE SET user_name = excluded.user_name`, issuer, subject, user)
	return problem.WrapAs(problem.Unavailable, err, "keeping who %s is", user)
}

// PutClaims implements auth.Store.
func (d *DB) PutClaims(ctx context.Context, user string, groups []string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM claimed_groups WHERE user_name = ?`, user)
		for _, name := range groups {
			if err == nil {
				_, err = tx.ExecContext(ctx, `INSERT INTO claimed_groups (user_name, name) VALUES (?, ?)`, user, name)
			}
		}
		return problem.WrapAs(problem.Unavailable, err, "keeping the groups of %s", user)
	})
}

// Claims implements auth.Store.
func (d *DB) Claims(ctx context.Context, user string) ([]string, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT name FROM claimed_groups WHERE user_name = ? ORDER BY name`, user)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading the groups of %s", user)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "reading the groups of %s", user)
		}
		all = append(all, name)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "reading the groups of %s", user)
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
