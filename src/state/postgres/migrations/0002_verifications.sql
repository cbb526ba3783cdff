-- The last look of each level at a set. One that finds nothing removes the faults of the levels that it covers; an empty fault is none. The digest is that of the
-- contents that such a look has read.
CREATE TABLE verifications (instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, level TEXT NOT NULL, verified_at BIGINT NOT NULL,
  sha256 TEXT NOT NULL DEFAULT '', server TEXT NOT NULL DEFAULT '', fault TEXT NOT NULL DEFAULT '', PRIMARY KEY (instance_id, backup_id, level));
