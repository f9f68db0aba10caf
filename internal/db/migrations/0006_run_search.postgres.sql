-- The words of runs: notebook, parameters and tags.
ALTER TABLE runs ADD COLUMN words tsvector GENERATED ALWAYS AS (search_words(
	replace(replace(notebook, '/', ' '), '.', ' ') || ' ' || parameters || ' ' || tags || ' ' || id)) STORED;
CREATE INDEX runs_words ON runs USING GIN (words);
