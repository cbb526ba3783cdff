-- When backups of an instance are taken by themselves, as tools have set it, and since when there is an hour for them. None: no hour.
ALTER TABLE policies ADD COLUMN preferred_backup_time TEXT NOT NULL DEFAULT '';
ALTER TABLE policies ADD COLUMN preferred_backup_period TEXT NOT NULL DEFAULT '';
ALTER TABLE policies ADD COLUMN backup_retention_period BIGINT NOT NULL DEFAULT 0;
ALTER TABLE policies ADD COLUMN calendar_since BIGINT NOT NULL DEFAULT 0;
