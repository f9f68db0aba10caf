-- The files that schedules wait for, and those that were there when somebody last
-- looked. looked is 0 before the first look.
CREATE TABLE schedule_watches (
	schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	source   TEXT NOT NULL,
	since    BIGINT NOT NULL,
	looked   INTEGER NOT NULL,
	PRIMARY KEY (schedule, source)
);

CREATE TABLE schedule_files (
	schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	source   TEXT NOT NULL,
	path     TEXT NOT NULL,
	version  TEXT NOT NULL,
	PRIMARY KEY (schedule, source, path)
);
