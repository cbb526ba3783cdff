-- What somebody is told, once: a row without a way for what was noticed, or for an alarm that is on, and one for each way by which it is told. The body
-- is what is told, as JSON; the failure why it was not.
CREATE TABLE notified (key TEXT NOT NULL, way TEXT NOT NULL, status TEXT NOT NULL, body TEXT NOT NULL DEFAULT '', failure TEXT NOT NULL DEFAULT '',
  noted_at INTEGER NOT NULL, ended_at INTEGER, PRIMARY KEY (key, way));
CREATE INDEX notified_by_status ON notified (way, status, noted_at);
-- Jobs that have ended are looked for every other second.
CREATE INDEX jobs_by_end ON jobs (finished_at);
