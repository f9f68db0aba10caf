-- A picture for the discover page, and the words of a run's parameters.
ALTER TABLE search_documents ADD COLUMN image TEXT NOT NULL DEFAULT '';
-- Read every notebook again.
UPDATE search_documents SET stamp = '';

-- Which content of a file a user has run or saved. Only hashes are kept.
CREATE TABLE trusted (
	user_name TEXT NOT NULL,
	path      TEXT NOT NULL,
	hash      TEXT NOT NULL,
	time      BIGINT NOT NULL,
	PRIMARY KEY (user_name, path, hash)
);
CREATE INDEX trusted_path ON trusted (path);
