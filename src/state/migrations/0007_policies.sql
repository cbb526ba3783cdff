-- What tools have set of an instance's backup policy; what the configuration file sets is not here. A row is made by the first change.
CREATE TABLE policies (instance_id TEXT PRIMARY KEY, enable_backup_log INTEGER NOT NULL, changed_at INTEGER NOT NULL);
