-- What code asks of a job becomes columns; until now it was read out of the job's texts.
ALTER TABLE jobs RENAME COLUMN undo TO recovery;
ALTER TABLE jobs ADD COLUMN recovery_kind TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN phase TEXT NOT NULL DEFAULT 'working';
ALTER TABLE jobs ADD COLUMN rollback_pending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN exclusive INTEGER NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN failure TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN caller TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN confirmation TEXT NOT NULL DEFAULT '';

UPDATE jobs SET phase = CASE
  WHEN status <> 'running' THEN 'ended'
  WHEN stage = 'starting' THEN 'starting'
  WHEN stage = 'waiting for the source to fork' THEN 'forking'
  WHEN stage LIKE 'interrupted%' THEN 'interrupted'
  ELSE 'working' END;
UPDATE jobs SET rollback_pending = 1, stage = replace(stage, 'unsettled', 'rollback pending')
  WHERE status = 'failed' AND recovery <> '';
UPDATE jobs SET failure = CASE
    WHEN code IN ('backup.damaged', 'capture.damaged') THEN 'damaged'
    WHEN code = 'plan.changed' THEN 'refused'
    ELSE 'provider' END
  WHERE status = 'failed';
UPDATE jobs SET recovery_kind = provider || '_' || kind WHERE recovery <> '';
-- Who asked, and under which confirmation, stood in the recovery record.
UPDATE jobs SET
    caller = coalesce(json_extract(recovery, '$.trace.caller'), ''),
    confirmation = coalesce(json_extract(recovery, '$.trace.nonce'), ''),
    recovery = json_remove(recovery, '$.trace')
  WHERE recovery <> '' AND json_valid(recovery);
-- Records of version 1 named the safety backup, not the call that brings back what was there.
UPDATE jobs SET recovery = json_remove(
    json_set(recovery, '$.back', printf('restore_instance with instance_id %s and backup_id %s',
      instance_id, json_extract(recovery, '$.safety_backup_id'))),
    '$.safety_backup_id')
  WHERE CASE WHEN json_valid(recovery)
    THEN json_type(recovery, '$.safety_backup_id') = 'text' AND json_type(recovery, '$.back') IS NULL END;

-- One exclusive job at a time for an instance, whichever process asks. Early databases let a backup and a restore of one
-- instance run at once: the later of two such jobs counts as one beside.
DROP INDEX jobs_running;
UPDATE jobs SET exclusive = 0 WHERE status = 'running' AND EXISTS (
  SELECT 1 FROM jobs AS other
  WHERE other.instance_id = jobs.instance_id AND other.status = 'running' AND other.rowid < jobs.rowid);
CREATE UNIQUE INDEX jobs_exclusive ON jobs (instance_id) WHERE status = 'running' AND exclusive = 1;

-- Plans of version 2 were written in another form, and a token stands for the digest of its form: they are withdrawn, and
-- their callers plan again. What was done under them is in the audit.
DELETE FROM confirmations;
ALTER TABLE confirmations RENAME COLUMN standing TO status;

-- One holder a name. A row stays when its lease is given back, so that the next epoch is a later one.
CREATE TABLE leases (
  name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, renewed_at INTEGER NOT NULL);
-- Processes that share only this database, and when each was last seen alive.
CREATE TABLE owners (name TEXT PRIMARY KEY, seen_at INTEGER NOT NULL);
