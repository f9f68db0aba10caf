CREATE TABLE runs (
	id          TEXT PRIMARY KEY,
	owner       TEXT NOT NULL,
	notebook    TEXT NOT NULL,
	version     BIGINT NOT NULL,
	source      TEXT NOT NULL,
	parameters  TEXT NOT NULL,
	kernel      TEXT NOT NULL,
	tags        TEXT NOT NULL,
	priority    INTEGER NOT NULL,
	timeout     BIGINT NOT NULL,
	retries     INTEGER NOT NULL,
	state       TEXT NOT NULL,
	reason      TEXT NOT NULL DEFAULT '',
	attempt     INTEGER NOT NULL DEFAULT 0,
	lost        INTEGER NOT NULL DEFAULT 0,
	cancelled   TEXT NOT NULL DEFAULT '',
	created     BIGINT NOT NULL,
	not_before  BIGINT NOT NULL,
	started     BIGINT NOT NULL DEFAULT 0,
	finished    BIGINT NOT NULL DEFAULT 0,
	result      TEXT NOT NULL DEFAULT '',
	published   BOOLEAN NOT NULL DEFAULT FALSE,
	retry_of    TEXT NOT NULL DEFAULT '',
	idempotency TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX runs_idempotency ON runs (owner, idempotency) WHERE idempotency <> '';
CREATE INDEX runs_queue ON runs (priority DESC, id) WHERE state = 'queued';
CREATE INDEX runs_notebook ON runs (notebook, id);
CREATE INDEX runs_waiting ON runs (state) WHERE state IN ('queued', 'starting', 'running');
CREATE INDEX runs_owner ON runs (owner, id);
CREATE INDEX runs_unpublished ON runs (id) WHERE NOT published;

CREATE TABLE attempts (
	run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	number   INTEGER NOT NULL,
	fence    TEXT NOT NULL,
	state    TEXT NOT NULL,
	reason   TEXT NOT NULL DEFAULT '',
	claimed  BIGINT NOT NULL,
	started  BIGINT NOT NULL DEFAULT 0,
	finished BIGINT NOT NULL DEFAULT 0,
	lease    BIGINT NOT NULL,
	PRIMARY KEY (run, number)
);
CREATE INDEX attempts_live ON attempts (run) WHERE state IN ('starting', 'running');
