CREATE TABLE templates (
	name  TEXT PRIMARY KEY,
	body  TEXT NOT NULL -- nbtemplate.Template as JSON, with its newest version
);

CREATE TABLE template_versions (
	template    TEXT NOT NULL REFERENCES templates (name) ON DELETE CASCADE,
	number      INTEGER NOT NULL,
	idempotency TEXT NOT NULL,
	body        TEXT NOT NULL, -- nbtemplate.Version as JSON
	PRIMARY KEY (template, number)
);
CREATE UNIQUE INDEX template_versions_key ON template_versions (template, idempotency) WHERE idempotency <> '';

ALTER TABLE runs ADD COLUMN template TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN template_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_template ON runs (template, id, state, finished, owner) WHERE template <> '';
