CREATE TABLE documents (
	id       INTEGER PRIMARY KEY,
	path     TEXT NOT NULL UNIQUE,
	head     BIGINT NOT NULL DEFAULT 0,
	applied  BOOLEAN NOT NULL DEFAULT TRUE,
	size     BIGINT NOT NULL DEFAULT 0,
	mod_time BIGINT NOT NULL DEFAULT 0,
	inode    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX documents_unapplied ON documents (id) WHERE NOT applied;

CREATE TABLE versions (
	document BIGINT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
	number   BIGINT NOT NULL,
	hash     TEXT NOT NULL,
	size     BIGINT NOT NULL,
	author   TEXT NOT NULL,
	time     BIGINT NOT NULL,
	cause    TEXT NOT NULL,
	base     BIGINT NOT NULL,
	PRIMARY KEY (document, number)
) WITHOUT ROWID;
