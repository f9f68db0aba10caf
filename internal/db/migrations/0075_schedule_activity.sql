-- What people did to schedules, by their name: it stays when a schedule goes.
CREATE TABLE schedule_activity (
	id       TEXT PRIMARY KEY, -- sorts by time
	schedule TEXT NOT NULL,
	body     TEXT NOT NULL     -- schedule.Activity as JSON
);
CREATE INDEX schedule_activity_name ON schedule_activity (schedule, id);

-- Pages of fires, newest slot first, each found without sorting.
DROP INDEX fires_time;
CREATE INDEX fires_time ON fires (schedule, slot, id);
-- How the fires of a backfill stand, without reading them.
CREATE INDEX fires_lane ON fires (schedule, lane, state) WHERE lane <> '';
