-- Credentials of connections, encrypted: sealed is the nonce and the ciphertext
-- as base64, key_id names the key, which is not in the records.
CREATE TABLE connection_credentials (
    connection TEXT PRIMARY KEY,
    key_id     TEXT NOT NULL,
    sealed     TEXT NOT NULL,
    changed    BIGINT NOT NULL,
    changed_by TEXT NOT NULL
);
