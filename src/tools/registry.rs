//! The registry: one row a tool. The names, `--read-only`, the dispatch, the published listing and the subcommands of the
//! command line all follow from the row, so that a tool is added by its files and one row here.
//!
//! A row repeats nothing: the description is `tools/<verb>.md`, the schemas are those of the types.

use crate::model::fault::Fault;
use crate::tools::arguments;
use crate::tools::guarded::reply::Guarded;
use crate::tools::rows::JobRow;
use crate::tools::{
    IntoOutcome as _, Outcome, ToolCall, create_backup, create_instance_from_backup, delete_backup,
    describe_backup_policy, describe_backups, describe_instances, describe_jobs, download_backup, modify_backup_policy,
    restore_instance, verify_backup,
};
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use futures::future::BoxFuture;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// The worst that a tool may do. Anything above [`Risk::Reads`] is refused with `--read-only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// Reads instances and backups. A download writes a file on this machine, a verification what it has found; a drill starts a server
    /// that is thrown away.
    Reads,
    /// Adds data: a backup.
    Writes,
    /// May lower protection.
    Lowers,
    /// Overwrites or deletes data.
    Destroys,
    /// Costs money.
    Costs,
}

/// How much of its reply a tool's listing describes: every user pays for every field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// All fields.
    Whole,
    /// Only the fields a model needs to go on; another tool's listing has the same reply whole.
    Essence,
}

/// One tool: a row of the registry.
pub struct Tool {
    /// The verb, which names the tool everywhere.
    pub name: &'static str,
    /// The worst that the tool may do.
    pub risk: Risk,
    /// How much of the reply is listed.
    pub listing: Listing,
    /// One line for the command line's help.
    pub about: &'static str,
    /// `tools/<verb>.md`: front matter, and the description that a model reads.
    pub description: &'static str,
    /// `tools/<verb>.json`: what `tools/list` sends, frozen.
    pub frozen: &'static str,
    /// Makes the schema of the arguments.
    pub input: fn(SchemaGenerator) -> Schema,
    /// Makes the schema of the reply.
    pub output: fn(SchemaGenerator) -> Schema,
    /// Adds the arguments to a subcommand.
    pub options: fn(Command) -> Command,
    /// Turns the arguments of a subcommand into the JSON that [`Tool::run`] takes.
    pub read: fn(&ArgMatches) -> Result<Value, clap::Error>,
    /// Carries a call out.
    pub run: for<'a> fn(&'a ToolCall<'a>, Value) -> BoxFuture<'a, Result<Outcome, Fault>>,
}

/// A row: verb, risk, reply, how much of that is listed, and the line of the command line's help.
macro_rules! tool {
    ($verb:ident, $risk:ident, $reply:ty, $listing:ident, $about:literal) => {
        Tool {
            name: stringify!($verb),
            risk: Risk::$risk,
            listing: Listing::$listing,
            about: $about,
            description: include_str!(concat!("../../tools/", stringify!($verb), ".md")),
            frozen: include_str!(concat!("../../tools/", stringify!($verb), ".json")),
            input: |schemas| schemas.into_root_schema_for::<$verb::Args>(),
            output: |schemas| schemas.into_root_schema_for::<$reply>(),
            options: $verb::Args::augment_args,
            read: |given| to_json(&$verb::Args::from_arg_matches(given)?),
            run: |call, json| Box::pin(async move { $verb::run(call, arguments::parse(json)?).await?.into_outcome() }),
        }
    };
}

/// All tools, in the order in which they are listed.
pub static TOOLS: [Tool; 11] = [
    tool!(
        describe_instances,
        Reads,
        describe_instances::Instances,
        Whole,
        "List instances with status, size and protection"
    ),
    tool!(
        create_backup,
        Writes,
        create_backup::Created,
        Whole,
        "Back up an instance; waits for the end unless --wait-seconds says otherwise"
    ),
    tool!(
        describe_backups,
        Reads,
        describe_backups::Backups,
        Whole,
        "List backup sets, by default of the last 7 days; or what destroyed data"
    ),
    tool!(
        download_backup,
        Reads,
        download_backup::Download,
        Whole,
        "Write a backup set to a plain .rdb file, or a moment as an append-only file"
    ),
    tool!(
        verify_backup,
        Reads,
        JobRow,
        Essence,
        "Verify a backup set: its bytes, its structure, or by a drill that a server loads it"
    ),
    tool!(
        restore_instance,
        Destroys,
        Guarded,
        Whole,
        "Overwrite an instance with a backup set or a moment, after pre-checks and your yes"
    ),
    tool!(describe_jobs, Reads, describe_jobs::Jobs, Whole, "Show backup and restore jobs"),
    tool!(
        describe_backup_policy,
        Reads,
        describe_backup_policy::PolicyRow,
        Whole,
        "Show when an instance is backed up by itself, and how far back it can go"
    ),
    tool!(modify_backup_policy, Lowers, Guarded, Essence, "Change that; what lowers protection takes your yes"),
    tool!(delete_backup, Destroys, Guarded, Essence, "Delete a manual or safety backup set for ever, after your yes"),
    tool!(
        create_instance_from_backup,
        Costs,
        Guarded,
        Essence,
        "Make a new instance from a backup, after your yes: a clone here, or one on Alibaba Cloud, which is billed"
    ),
];

/// The names of all tools, in the order in which they are listed.
pub const NAMES: [&str; TOOLS.len()] = names();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse an index out of bounds")]
const fn names() -> [&'static str; TOOLS.len()] {
    let mut names = [""; TOOLS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = TOOLS[i].name;
        i += 1;
    }
    names
}

/// The tool of a verb.
#[must_use]
pub fn find(verb: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == verb)
}

impl Tool {
    /// Whether `--read-only` refuses the tool.
    #[must_use]
    pub fn is_writer(&self) -> bool {
        self.risk != Risk::Reads
    }
}

fn to_json(args: &impl serde::Serialize) -> Result<Value, clap::Error> {
    let failed = |e: serde_json::Error| clap::Error::raw(clap::error::ErrorKind::ValueValidation, e);
    serde_json::to_value(args).map_err(failed)
}
