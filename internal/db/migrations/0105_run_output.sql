-- Where the output notebook of a run is put in the workspaces, '' for nowhere, and
-- why it could not be put there.
ALTER TABLE runs ADD COLUMN output TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN output_problem TEXT NOT NULL DEFAULT '';
