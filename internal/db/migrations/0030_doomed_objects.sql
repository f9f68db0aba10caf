-- Objects that no version names: since when that is known, and since when a
-- server is about to free them (0: none is).
CREATE TABLE doomed_objects (
	object  TEXT PRIMARY KEY,
	doomed  BIGINT NOT NULL,
	claimed BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX doomed_objects_doomed ON doomed_objects (doomed);
