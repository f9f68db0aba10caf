-- Which run wrote or read which table or file. kind is 'table' or 'file'; place
-- is the connection of a table.
CREATE TABLE lineage (
	run   TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	wrote INTEGER NOT NULL,
	kind  TEXT NOT NULL,
	place TEXT NOT NULL,
	name  TEXT NOT NULL, -- of a table in lower case
	at    BIGINT NOT NULL,
	PRIMARY KEY (run, kind, place, name, wrote)
);
CREATE INDEX lineage_thing ON lineage (kind, place, name, wrote, run);

-- Runs whose lineage is to be exported.
CREATE TABLE lineage_outbox (
	run   TEXT PRIMARY KEY,
	due   BIGINT NOT NULL,
	tries INTEGER NOT NULL
);
CREATE INDEX lineage_outbox_due ON lineage_outbox (due);
