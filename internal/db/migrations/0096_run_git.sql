-- Where a run's notebook comes from when it is of a git repository, run.GitSource as
-- JSON; and the environment that its schedule was tested with, its lock hash.
ALTER TABLE runs ADD COLUMN git TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN tested TEXT NOT NULL DEFAULT '';
