-- body is the job or task as JSON; the columns beside it are what is searched for.
CREATE TABLE jobs (
	id             TEXT PRIMARY KEY,
	user_name      TEXT NOT NULL,
	state          TEXT NOT NULL,
	capacity_group TEXT NOT NULL,
	group_key      TEXT NOT NULL, -- no two active jobs share one that is not empty
	idempotency    TEXT NOT NULL,
	version        BIGINT NOT NULL,
	created        BIGINT NOT NULL, -- milliseconds
	finished       BIGINT NOT NULL, -- milliseconds; 0 while it goes on
	body           TEXT NOT NULL
);
CREATE UNIQUE INDEX jobs_group_key ON jobs (group_key) WHERE group_key <> '' AND finished = 0;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (user_name, idempotency) WHERE idempotency <> '';
CREATE INDEX jobs_created ON jobs (created DESC, id DESC);
CREATE INDEX jobs_active ON jobs (id) WHERE finished = 0;

CREATE TABLE tasks (
	id       TEXT PRIMARY KEY,
	job      TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
	position BIGINT NOT NULL,
	replaced BOOLEAN NOT NULL,
	created  BIGINT NOT NULL, -- the version that it was made with
	body     TEXT NOT NULL
);
CREATE INDEX tasks_job ON tasks (job, position, created);
