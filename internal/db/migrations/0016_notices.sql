CREATE TABLE notices (
	id       TEXT PRIMARY KEY,
	schedule TEXT NOT NULL, -- name
	state    TEXT NOT NULL,
	together TEXT NOT NULL, -- notify.Notice.Group
	due      BIGINT NOT NULL,
	created  BIGINT NOT NULL,
	body     TEXT NOT NULL  -- notify.Notice as JSON
);
CREATE INDEX notices_due ON notices (due) WHERE state = 'pending';
CREATE INDEX notices_schedule ON notices (schedule, created);
