//! Tests of single tools, one file a verb, through the program as it is run.

mod create_backup;
mod create_instance_from_backup;
mod delete_backup;
mod describe_backup_policy;
mod describe_backups;
mod describe_instances;
mod describe_jobs;
mod download_backup;
mod modify_backup_policy;
mod restore_instance;
mod verify_backup;
