-- Key statistics of a restore's source and target, as JSON. Empty for other jobs, and those of earlier versions.
ALTER TABLE jobs ADD COLUMN restored_keys TEXT NOT NULL DEFAULT '';
