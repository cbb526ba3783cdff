-- What the last verification of a set came to. A row is made by the first one; an empty fault is none.
CREATE TABLE verifications (instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, level TEXT NOT NULL, verified_at INTEGER NOT NULL,
  fault TEXT NOT NULL DEFAULT '', PRIMARY KEY (instance_id, backup_id));
