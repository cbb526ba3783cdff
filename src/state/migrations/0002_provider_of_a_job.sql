-- A job belongs to a provider, which alone can reconcile it. Plans of version 1 were written in another form: they are
-- withdrawn, and their callers plan again.
ALTER TABLE jobs ADD COLUMN provider TEXT NOT NULL DEFAULT 'local';
DELETE FROM confirmations;
