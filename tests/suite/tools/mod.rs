//! Tests of single tools, by verb, through the program as it is run.

mod delete_backup;
