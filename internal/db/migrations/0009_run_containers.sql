-- compute.Resources and job.Usage as JSON; '' is none.
ALTER TABLE runs ADD COLUMN container TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN used TEXT NOT NULL DEFAULT '';
