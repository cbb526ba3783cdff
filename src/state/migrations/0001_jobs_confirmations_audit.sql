-- The tables of version 1. This file is never edited: its checksum stands in every database that it was run on.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, status TEXT NOT NULL,
  stage TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL, undo TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL, finished_at INTEGER);
-- One job at a time for an instance, whichever process asks.
CREATE UNIQUE INDEX jobs_running ON jobs (instance_id) WHERE status = 'running';
CREATE INDEX jobs_by_time ON jobs (created_at);
CREATE TABLE confirmations (
  nonce TEXT PRIMARY KEY, plan TEXT NOT NULL, caller TEXT NOT NULL, standing TEXT NOT NULL,
  wrong_answers INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL, caller TEXT NOT NULL,
  instance_id TEXT NOT NULL, nonce TEXT NOT NULL, detail TEXT NOT NULL);
