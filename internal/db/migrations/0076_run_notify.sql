-- Who is told what becomes of a run: []notify.Rule as JSON, '' for nobody.
ALTER TABLE runs ADD COLUMN notify TEXT NOT NULL DEFAULT '';
