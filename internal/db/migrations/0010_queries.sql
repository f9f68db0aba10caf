-- Statements that the query gateway was given. body is the record as JSON.
CREATE TABLE queries (
    id         TEXT PRIMARY KEY, -- sorts by time
    owner      TEXT NOT NULL,
    connection TEXT NOT NULL,
    state      TEXT NOT NULL,
    notebook   TEXT NOT NULL,
    run        TEXT NOT NULL,
    submitted  BIGINT NOT NULL,
    statement  TEXT NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX queries_owner ON queries (owner, id);
CREATE INDEX queries_live ON queries (state, id) WHERE state IN ('queued', 'running');
CREATE INDEX queries_submitted ON queries (submitted);

-- The tables that a statement wrote and read, in lower case.
CREATE TABLE query_tables (
    query      TEXT NOT NULL REFERENCES queries (id) ON DELETE CASCADE,
    connection TEXT NOT NULL,
    name       TEXT NOT NULL,
    wrote      INTEGER NOT NULL,
    PRIMARY KEY (query, name, wrote)
);
CREATE INDEX query_tables_name ON query_tables (connection, name, wrote, query);
