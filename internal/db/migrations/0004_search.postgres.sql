-- What SQLite has and this database lacks, under SQLite's name.
CREATE FUNCTION instr(text, text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN strpos($1, $2);

CREATE TABLE search_documents (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	path        TEXT NOT NULL UNIQUE,
	stamp       TEXT NOT NULL,
	title       TEXT NOT NULL,
	authors     TEXT NOT NULL,
	tags        TEXT NOT NULL,
	description TEXT NOT NULL,
	modified    BIGINT NOT NULL
);

-- Without accents, as in SQLite's index.
CREATE FUNCTION search_fold(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN regexp_replace(normalize($1, NFKD), '[\u0300-\u036f]', '', 'g');

-- Words as they are, without endings cut off: code is searched too. They are
-- parted by what is no letter, digit or underscore.
CREATE FUNCTION search_words(text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN to_tsvector('simple', regexp_replace(search_fold(left($1, 500000)), '[^[:alnum:]_]+', ' ', 'g'));

CREATE TABLE search_cells (
	document BIGINT NOT NULL REFERENCES search_documents (id) ON DELETE CASCADE,
	anchor   TEXT NOT NULL,
	cell     BIGINT NOT NULL,
	text     TEXT NOT NULL,
	words    tsvector GENERATED ALWAYS AS (search_words(text)) STORED
);
CREATE INDEX search_cells_document ON search_cells (document);
CREATE INDEX search_cells_words ON search_cells USING GIN (words);
