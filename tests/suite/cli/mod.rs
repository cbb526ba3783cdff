//! Tests of the command line, as a person or a script has it: commands, the demo, a real terminal.

pub mod approve;
mod commands;
mod compare_backups;
mod demo;
mod doctor;
mod first_minute;
mod logs;
mod protection;
mod prune;
mod screens;
mod terminal;
mod vault_verify;
