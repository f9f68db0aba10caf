CREATE TABLE schedules (
	id   TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	wake BIGINT NOT NULL, -- when it is looked at next; 0 is never
	body TEXT NOT NULL    -- schedule.Schedule as JSON
);
CREATE INDEX schedules_wake ON schedules (wake) WHERE wake > 0;

CREATE TABLE schedule_revisions (
	schedule   TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	number     INTEGER NOT NULL,
	definition TEXT NOT NULL,
	pinned     TEXT NOT NULL,
	text       TEXT NOT NULL,
	PRIMARY KEY (schedule, number)
);

-- Each slot of a lane is recorded once.
CREATE TABLE fires (
	id       TEXT PRIMARY KEY,
	schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	lane     TEXT NOT NULL,
	slot     BIGINT NOT NULL,
	state    TEXT NOT NULL,
	body     TEXT NOT NULL -- schedule.Fire as JSON
);
CREATE UNIQUE INDEX fires_slot ON fires (schedule, lane, slot);
CREATE INDEX fires_time ON fires (schedule, slot);
CREATE INDEX fires_live ON fires (schedule) WHERE state IN ('due', 'running');

-- The runs whose end a fire waits for.
CREATE TABLE fire_runs (
	run      TEXT PRIMARY KEY,
	fire     TEXT NOT NULL REFERENCES fires (id) ON DELETE CASCADE,
	schedule TEXT NOT NULL
);
CREATE INDEX fire_runs_fire ON fire_runs (fire);

CREATE TABLE backfills (
	id       TEXT PRIMARY KEY,
	schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	body     TEXT NOT NULL -- schedule.Backfill as JSON
);
CREATE INDEX backfills_schedule ON backfills (schedule, id);
