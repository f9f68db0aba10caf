ALTER TABLE users ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;

-- id names a credential to people; its secret is known to nobody but its holder.
ALTER TABLE credentials ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN label TEXT NOT NULL DEFAULT '';
CREATE INDEX credentials_user ON credentials (user_name);

-- Who somebody is at a place where they sign in.
CREATE TABLE identities (
	issuer    TEXT NOT NULL,
	subject   TEXT NOT NULL,
	user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
	PRIMARY KEY (issuer, subject)
);
