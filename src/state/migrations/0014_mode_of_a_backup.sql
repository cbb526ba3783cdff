-- What a backup job's set is for, where the provider cannot tell by the set itself: `safety` for one that the cloud was asked for so that a plan can
-- be undone, said when the job begins. Empty else. Of jobs of before this the plan tells; a plan that is no JSON is none of them.
ALTER TABLE jobs ADD COLUMN mode TEXT NOT NULL DEFAULT '';
UPDATE jobs SET mode = 'safety'
WHERE provider = 'tair' AND kind = 'backup'
  AND EXISTS (SELECT 1 FROM confirmations WHERE plan LIKE '%"job_id":"' || jobs.id || '"%');
