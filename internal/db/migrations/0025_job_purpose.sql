-- What the platform has a job for: "notebook server", "run 01h...". A person's own jobs have none.
ALTER TABLE jobs ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_purpose ON jobs (user_name, purpose, created DESC) WHERE purpose <> '';
