-- Which schedules wait for the signals of a source: schedule/NAME, webhook/NAME.
CREATE TABLE schedule_waits (
	schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	source   TEXT NOT NULL,
	PRIMARY KEY (source, schedule)
);
CREATE INDEX schedule_waits_schedule ON schedule_waits (schedule);

-- What has come for a schedule. Those that are done are kept for a while, so that
-- the same one does not come again.
CREATE TABLE signals (
	schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	id       TEXT NOT NULL,
	state    TEXT NOT NULL, -- new, held (others are to come with it) or done
	at       BIGINT NOT NULL,
	body     TEXT NOT NULL, -- schedule.Signal as JSON
	PRIMARY KEY (schedule, id)
);
CREATE INDEX signals_new ON signals (schedule) WHERE state = 'new';
CREATE INDEX signals_live ON signals (schedule, at) WHERE state <> 'done';
CREATE INDEX signals_done ON signals (at) WHERE state = 'done';
