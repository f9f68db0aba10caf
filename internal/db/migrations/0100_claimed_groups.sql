-- The groups that somebody was in, where they sign in, when they did it the last time.
CREATE TABLE claimed_groups (
	user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
	name      TEXT NOT NULL,
	PRIMARY KEY (user_name, name)
);
