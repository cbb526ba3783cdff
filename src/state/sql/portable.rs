//! The state of a database as a file, and a file's into an empty database: rows as they are, in one transaction each.

use crate::guard::ledger::{AuditRecord, ConfirmationStatus};
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::model::time::written;
use crate::state::portable::file::{self, Checked};
use crate::state::portable::form::{self, Cell, FORM, Header, LINE_MAX, Of, Read, RunningJob, TABLES, Table};
use crate::state::portable::{Exported, Imported, Portable};
use crate::state::sql::database::{Database, Transaction};
use crate::state::sql::fault::{damaged, newer};
use crate::state::sql::statement::{Row, Statement, Value};
use crate::state::sql::{Store, ledger};
use async_trait::async_trait;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::mpsc::{self, Sender};

/// Lines between the database and the file.
const LINES: usize = 64;
/// Rows in one statement at most, and bytes of them after which another begins.
const ROWS_AT_ONCE: usize = 50;
const BYTES_AT_ONCE: usize = 1 << 20;
/// The audit's event of an import; the file's digest stands in its detail.
const IMPORTED: &str = "state.imported";
/// The first form whose jobs say what a backup is for. Of those before it the plans tell, as they tell the migration that brought the column.
const MODES_SINCE: u32 = 2;
const MODES_BY_PLANS: &str = "UPDATE jobs SET mode = 'safety' WHERE provider = 'tair' AND kind = 'backup'
    AND EXISTS (SELECT 1 FROM confirmations WHERE plan LIKE '%\"job_id\":\"' || jobs.id || '\"%')";

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Text(text) => text.into(),
            Cell::Number(n) => n.into(),
            Cell::Truth(is) => is.into(),
        }
    }
}

fn cell(row: &Row, column: &str, of: Of) -> Result<Cell, Fault> {
    Ok(match of {
        Of::Text | Of::NewText => Cell::Text(row.get(column)?),
        Of::Number => Cell::Number(Some(row.get(column)?)),
        Of::NumberIfAny => Cell::Number(row.get(column)?),
        Of::Truth => Cell::Truth(row.get(column)?),
        Of::Status => Cell::Text(form::withdrawn(&row.get::<String>(column)?).to_owned()),
    })
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

async fn count(open: &mut dyn Transaction, from: String) -> Result<u64, Fault> {
    let counted = open.write(&Statement::new(format!("SELECT count(*) AS n FROM {from}"))).await?;
    counted.rows.first().ok_or(sqlx::Error::RowNotFound)?.count("n")
}

/// What is told of all, before any row is read.
async fn header<D: Database>(open: &mut dyn Transaction) -> Result<Header, Fault> {
    let mut rows = BTreeMap::new();
    for table in &TABLES {
        rows.insert(table.name.to_owned(), count(open, table.name.to_owned()).await?);
    }
    let running = Statement::new("SELECT id, kind, instance_id FROM jobs WHERE status = $1 ORDER BY created_at, id")
        .bind(JobStatus::Running.as_str());
    let running = open.write(&running).await?.rows;
    let job = |row: &Row| {
        Ok::<_, Fault>(RunningJob {
            job_id: row.get("id")?,
            kind: row.get("kind")?,
            instance_id: row.get("instance_id")?,
        })
    };
    Ok(Header {
        tair_backup_mcp_state: FORM,
        program: env!("CARGO_PKG_VERSION").into(),
        database: D::NAME.into(),
        schema: D::schema(),
        exported_at: written(Timestamp::now()),
        running: running.iter().map(job).collect::<Result<_, _>>()?,
        rows,
    })
}

/// Reads everything, line by line. Where nobody takes the lines any more it ends, and whoever wrote them knows why.
async fn read<D: Database>(database: &D, lines: Sender<Option<String>>) -> Result<Exported, Fault> {
    let mut open = database.snapshot().await?;
    let header = header::<D>(&mut *open).await?;
    let waiting = Statement::new(format!(
        "SELECT count(*) AS n FROM confirmations WHERE status IN ($1, $2) AND expires_at > {}",
        D::NOW
    ))
    .bind(ConfirmationStatus::Open.as_str())
    .bind(ConfirmationStatus::Approved.as_str());
    let waiting = open.write(&waiting).await?;
    let withdrawn = waiting.rows.first().ok_or(sqlx::Error::RowNotFound)?.count("n")?;
    let first = serde_json::to_string(&header).map_err(damaged)?;
    let mut taken = lines.send(Some(first)).await.is_ok();
    for table in &TABLES {
        let all = Statement::new(format!("SELECT {} FROM {} ORDER BY {}", names(table), table.name, table.order));
        let mut rows = open.rows(&all);
        while taken && let Some(row) = rows.try_next().await? {
            let cells = table.columns.iter().map(|(column, of)| cell(&row, column, *of)).collect::<Result<_, _>>()?;
            let line = form::line(table, cells);
            if line.len() > LINE_MAX {
                return Err(damaged(format!("a row of {} has {} bytes", table.name, line.len())));
            }
            taken = lines.send(Some(line)).await.is_ok();
        }
    }
    let _ = lines.send(None).await;
    Ok(Exported { rows: header.rows, running: header.running, withdrawn, others: 0 })
}

/// The statement that writes rows of a table.
fn insert(table: &Table, rows: Vec<Vec<Cell>>) -> Statement {
    let made = table.made.map(|(column, value)| (format!(", {column}"), format!(", '{value}'")));
    let (column, value) = made.unwrap_or_default();
    let width = table.columns.len();
    let row = |n: usize| {
        let bound: Vec<String> = (1..=width).map(|place| format!("${}", n * width + place)).collect();
        format!("({}{value})", bound.join(", "))
    };
    let values: Vec<String> = (0..rows.len()).map(row).collect();
    let statement =
        Statement::new(format!("INSERT INTO {} ({}{column}) VALUES {}", table.name, names(table), values.join(", ")));
    rows.into_iter().flatten().fold(statement, Statement::bind)
}

/// Rows that are written together.
struct Batch {
    table: &'static Table,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    async fn write(&mut self, open: &mut dyn Transaction) -> Result<(), Fault> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() { Ok(()) } else { open.write(&insert(self.table, rows)).await.map(drop) }
    }

    async fn add(&mut self, row: Read, open: &mut dyn Transaction) -> Result<(), Fault> {
        let full = self.rows.len() >= ROWS_AT_ONCE || self.bytes >= BYTES_AT_ONCE;
        if full || self.table.name != row.table.name {
            self.write(open).await?;
        }
        self.table = row.table;
        self.bytes += row.bytes;
        self.rows.push(row.cells);
        Ok(())
    }
}

/// Writes all rows that come.
async fn write(mut rows: mpsc::Receiver<Read>, open: &mut dyn Transaction) -> Result<(), Fault> {
    let [first, ..] = &TABLES;
    let mut batch = Batch { table: first, rows: Vec::new(), bytes: 0 };
    while let Some(row) = rows.recv().await {
        batch.add(row, open).await?;
    }
    batch.write(open).await
}

/// When the file of a digest was imported into a store; `None`: it was not.
async fn before(open: &mut dyn Transaction, sha256: &str) -> Result<Option<Timestamp>, Fault> {
    let imports = Statement::new("SELECT at, detail FROM audit WHERE event = $1 ORDER BY seq").bind(IMPORTED);
    let mut rows = open.rows(&imports);
    while let Some(row) = rows.try_next().await? {
        if row.get::<String>("detail")?.contains(sha256) {
            return row.moment("at").map(Some);
        }
    }
    Ok(None)
}

/// Refuses a store that holds something.
async fn empty(open: &mut dyn Transaction) -> Result<(), Fault> {
    for table in &TABLES {
        let rows = count(open, table.name.to_owned()).await?;
        if rows > 0 {
            let message = format!("the store is not empty: it has {rows} rows of {}; nothing was imported", table.name);
            return Err(Fault::new(Kind::Refused, "state.not_empty", message).hint(
                "Import into a store that nobody has used: name another database in `state`, or another --home. What is there is not merged \
                 with the file.",
            ));
        }
    }
    Ok(())
}

fn in_use(others: &[String]) -> Fault {
    let message = match others.len() {
        1 => "another process is at work on the store; nothing was imported".to_owned(),
        n => format!("{n} other processes are at work on the store; nothing was imported"),
    };
    Fault::new(Kind::Unexpected, "state.in_use", message)
        .hint("Stop whatever serves on it (`serve`, `run`), then call again; one that was killed is waited for up to half a minute.")
}

#[async_trait]
impl<D: Database> Portable for Store<D> {
    async fn export(&self, to: &Path) -> Result<Exported, Fault> {
        let others = self.liveness.others().await?.len();
        let (lines, taken) = mpsc::channel(LINES);
        let (read, wrote) = tokio::join!(read(&*self.database, lines), file::write(to.to_owned(), taken));
        let exported = read?;
        wrote.map(|()| Exported { others, ..exported })
    }

    async fn import(&self, from: &Path) -> Result<Imported, Fault> {
        let checked = Checked::open(from).await?;
        let Header { tair_backup_mcp_state: form, database, schema, rows, exported_at, .. } = checked.header.clone();
        if database == D::NAME && schema > D::schema() {
            return Err(newer("the file", schema, D::schema(), "Import it with the later program."));
        }
        // Whoever was killed is waited for here: a database ends what holds it idle for long, and then the import fails. What counts is asked below.
        self.liveness.others().await?;
        let mut open = self.database.alone().await?;
        if let Some(at) = before(&mut *open, &checked.sha256).await? {
            return Ok(Imported { rows, before: Some(at) });
        }
        empty(&mut *open).await?;
        let others = self.liveness.others().await?;
        if !others.is_empty() {
            return Err(in_use(&others));
        }
        let detail = format!("the state of {exported_at}, from {database}; sha256 {}", checked.sha256);
        let (sent, came) = mpsc::channel(LINES);
        let (wrote, read) = tokio::join!(write(came, &mut *open), checked.rows(sent));
        // Where the one failed the other only says that nobody listened.
        wrote?;
        read?;
        if form < MODES_SINCE {
            open.write(&Statement::new(MODES_BY_PLANS)).await?;
        }
        let record = AuditRecord::now(IMPORTED, Caller::command_line().id(), "", detail);
        open.write(&ledger::line(&record)).await?;
        open.commit().await?;
        ledger::tell(&record, None);
        Ok(Imported { rows, before: None })
    }
}
