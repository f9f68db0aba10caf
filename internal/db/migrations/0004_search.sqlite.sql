CREATE TABLE search_documents (
	id          INTEGER PRIMARY KEY,
	path        TEXT NOT NULL UNIQUE,
	stamp       TEXT NOT NULL,
	title       TEXT NOT NULL,
	authors     TEXT NOT NULL,
	tags        TEXT NOT NULL,
	description TEXT NOT NULL,
	modified    BIGINT NOT NULL
);

CREATE VIRTUAL TABLE search_cells USING fts5 (
	text, document UNINDEXED, anchor UNINDEXED, cell UNINDEXED,
	tokenize = "unicode61 remove_diacritics 2 tokenchars '_'"
);
