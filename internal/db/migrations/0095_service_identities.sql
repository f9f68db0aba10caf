-- What a service identity may do and who may use it: auth.Service as JSON; '' is a
-- person.
ALTER TABLE users ADD COLUMN service TEXT NOT NULL DEFAULT '';
