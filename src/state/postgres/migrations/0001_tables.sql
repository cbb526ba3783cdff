-- The tables of the first version on PostgreSQL: those that the eighth has on SQLite. This file is never edited: its checksum stands in every
-- database that it was run on. Moments are milliseconds since 1970; ids are ordered by their bytes.
CREATE TABLE jobs (
  id TEXT COLLATE "C" PRIMARY KEY, kind TEXT NOT NULL, instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, status TEXT NOT NULL,
  stage TEXT NOT NULL, done BIGINT NOT NULL DEFAULT 0, total BIGINT NOT NULL DEFAULT 0,
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL, recovery TEXT NOT NULL DEFAULT '', created_at BIGINT NOT NULL, finished_at BIGINT,
  provider TEXT NOT NULL, recovery_kind TEXT NOT NULL DEFAULT '', phase TEXT NOT NULL,
  rollback_pending BOOLEAN NOT NULL DEFAULT FALSE, exclusive BOOLEAN NOT NULL, failure TEXT NOT NULL DEFAULT '',
  caller TEXT NOT NULL DEFAULT '', confirmation TEXT NOT NULL DEFAULT '', serving_at BIGINT,
  account TEXT NOT NULL DEFAULT '', principal TEXT NOT NULL DEFAULT '', region TEXT NOT NULL DEFAULT '',
  endpoint TEXT NOT NULL DEFAULT '', cloud_jobs TEXT NOT NULL DEFAULT '[]', restored TEXT NOT NULL DEFAULT '',
  restored_keys TEXT NOT NULL DEFAULT '');
-- One exclusive job at a time for an instance, whichever process asks.
CREATE UNIQUE INDEX jobs_exclusive ON jobs (instance_id) WHERE status = 'running' AND exclusive;
CREATE INDEX jobs_by_time ON jobs (created_at);
CREATE INDEX jobs_by_instance ON jobs (instance_id);
CREATE TABLE confirmations (
  nonce TEXT PRIMARY KEY, plan TEXT NOT NULL, caller TEXT NOT NULL, status TEXT NOT NULL,
  wrong_answers BIGINT NOT NULL DEFAULT 0, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL);
CREATE TABLE audit (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at BIGINT NOT NULL, event TEXT NOT NULL, caller TEXT NOT NULL,
  instance_id TEXT NOT NULL, nonce TEXT NOT NULL, detail TEXT NOT NULL);
-- One holder a name. A row stays when its lease is given back, so that the next epoch is a later one.
CREATE TABLE leases (
  name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch BIGINT NOT NULL, renewed_at BIGINT NOT NULL);
-- The processes that share this database, and when each was last seen alive.
CREATE TABLE owners (name TEXT PRIMARY KEY, seen_at BIGINT NOT NULL);
-- What tools have set of an instance's backup policy; what the configuration file sets is not here. A row is made by the first change.
CREATE TABLE policies (instance_id TEXT PRIMARY KEY, enable_backup_log BOOLEAN NOT NULL, changed_at BIGINT NOT NULL);
-- The guard's signing key, in hexadecimal: one for all processes, so that what one plans can be confirmed on another.
CREATE TABLE keys (name TEXT PRIMARY KEY, key TEXT NOT NULL);
