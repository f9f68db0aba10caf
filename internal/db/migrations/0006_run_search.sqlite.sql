-- The words of runs: notebook, parameters and tags, by the rowid of runs.
CREATE VIRTUAL TABLE search_runs USING fts5 (
	text, tokenize = "unicode61 remove_diacritics 2 tokenchars '_'"
);
INSERT INTO search_runs (rowid, text)
	SELECT rowid, replace(replace(notebook, '/', ' '), '.', ' ') || char(10) || parameters || char(10) || tags || char(10) || id FROM runs;
CREATE TRIGGER search_runs_insert AFTER INSERT ON runs BEGIN
	INSERT INTO search_runs (rowid, text)
		VALUES (new.rowid, replace(replace(new.notebook, '/', ' '), '.', ' ') || char(10) || new.parameters || char(10) || new.tags || char(10) || new.id);
END;
CREATE TRIGGER search_runs_delete AFTER DELETE ON runs BEGIN
	DELETE FROM search_runs WHERE rowid = old.rowid;
END;
