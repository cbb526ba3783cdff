-- What a restore puts in, as JSON: the log of its instance goes on from there. Empty for other jobs, and those of earlier versions.
ALTER TABLE jobs ADD COLUMN restored TEXT NOT NULL DEFAULT '';
