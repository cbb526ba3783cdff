-- The manifests that were put on the vault and not deleted by this program since: what lies there now must be these bytes. An empty key: it was not signed.
CREATE TABLE manifests (instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, sha256 TEXT NOT NULL, signed_by TEXT NOT NULL DEFAULT '', recorded_at BIGINT NOT NULL,
  PRIMARY KEY (instance_id, backup_id));
