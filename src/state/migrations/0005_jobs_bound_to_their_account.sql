-- What was begun in one account, region or endpoint of a cloud is no other's to go on with; empty for jobs on this machine's own instances,
-- and for those of earlier versions. The cloud's own jobs of a backup prove later that its set is the one that was asked for.
ALTER TABLE jobs ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN principal TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN region TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN endpoint TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN cloud_jobs TEXT NOT NULL DEFAULT '[]';
