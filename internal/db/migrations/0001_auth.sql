CREATE TABLE users (
	name         TEXT PRIMARY KEY,
	display_name TEXT NOT NULL DEFAULT '',
	admin        BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE TABLE credentials (
	hash      TEXT PRIMARY KEY,
	user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
	kind      TEXT NOT NULL CHECK (kind IN ('token', 'session')),
	created   BIGINT NOT NULL,
	expires   BIGINT NOT NULL
);
CREATE INDEX credentials_expires ON credentials (expires);
