-- Secrets, encrypted: sealed is the nonce and the ciphertext as base64, key_id names
-- the key, which is not in the records. Those of the owner '' are the credentials of
-- connections, which had a table of their own; the others are people's. used is when
-- a run was last given one.
CREATE TABLE secrets (
    owner      TEXT NOT NULL,
    name       TEXT NOT NULL,
    key_id     TEXT NOT NULL,
    sealed     TEXT NOT NULL,
    changed    BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    used       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (owner, name)
);
INSERT INTO secrets (owner, name, key_id, sealed, changed, changed_by)
    SELECT '', connection, key_id, sealed, changed, changed_by FROM connection_credentials;
DROP TABLE connection_credentials;
-- The secrets that a run is given: an object of the names of its owner's by parameter,
-- '' for none. Never values.
ALTER TABLE runs ADD COLUMN secrets TEXT NOT NULL DEFAULT '';
-- A token that a kernel or a notebook server was given to ask in its user's name: so
-- far those without a name for people that expire.
ALTER TABLE credentials ADD COLUMN pass BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE credentials SET pass = TRUE WHERE kind = 'token' AND id = '' AND expires > 0;
