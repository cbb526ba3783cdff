-- A restored instance serves before its disk has the data; both moments are kept.
ALTER TABLE jobs ADD COLUMN serving_at INTEGER;
