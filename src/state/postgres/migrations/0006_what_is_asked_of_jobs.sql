-- What is asked every other second is found without reading all jobs: those of an instance, those that have no end yet, and what is left to roll back.
CREATE INDEX jobs_by_sort ON jobs (instance_id, status, kind);
CREATE INDEX jobs_by_status ON jobs (status, phase);
CREATE INDEX jobs_to_roll_back ON jobs (instance_id) WHERE rollback_pending;
-- What is asked by it jobs_by_sort answers, too.
DROP INDEX jobs_by_instance;
