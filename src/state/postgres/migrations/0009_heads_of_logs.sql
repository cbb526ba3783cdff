-- Up to where each timeline of a log was on the vault when this was last written down: its newest segment, where that ends and its digest. What lies
-- there now may reach further, never less far.
CREATE TABLE log_heads (instance_id TEXT NOT NULL, shard BIGINT NOT NULL, timeline TEXT NOT NULL, segment TEXT NOT NULL, end_offset BIGINT NOT NULL,
  reached_at BIGINT NOT NULL, digest TEXT NOT NULL, recorded_at BIGINT NOT NULL, PRIMARY KEY (instance_id, shard, timeline));
