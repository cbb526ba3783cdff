//! Heads of logs on a database: a row for each timeline that was written.

use crate::model::fault::Fault;
use crate::model::log::LogHead;
use crate::state::heads::Heads;
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::fault::damaged;
use crate::state::sql::statement::{Row, Statement};
use async_trait::async_trait;
use jiff::Timestamp;

fn head(row: &Row) -> Result<LogHead, Fault> {
    let shard = row.count("shard")?;
    Ok(LogHead {
        instance_id: row.get("instance_id")?,
        shard: u16::try_from(shard).map_err(|_| damaged(format!("a log is of shard {shard}")))?,
        timeline: row.get("timeline")?,
        segment: row.get("segment")?,
        offset: row.count("end_offset")?,
        until: row.moment("reached_at")?,
        digest: row.get("digest")?,
    })
}

#[async_trait]
impl<D: Database> Heads for Store<D> {
    async fn heads(&self, instance_id: Option<&str>) -> Result<Vec<LogHead>, Fault> {
        let asked = match instance_id {
            None => Statement::new("SELECT * FROM log_heads ORDER BY instance_id, shard, timeline"),
            Some(id) => {
                Statement::new("SELECT * FROM log_heads WHERE instance_id = $1 ORDER BY shard, timeline").bind(id)
            }
        };
        self.database.read(asked).await?.iter().map(head).collect()
    }

    async fn set_head(&self, head: &LogHead) -> Result<(), Fault> {
        let statement = Statement::new(
            "INSERT INTO log_heads (instance_id, shard, timeline, segment, end_offset, reached_at, digest, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (instance_id, shard, timeline) DO UPDATE
             SET segment = $4, end_offset = $5, reached_at = $6, digest = $7, recorded_at = $8 WHERE log_heads.end_offset <= $5",
        )
        .bind(&head.instance_id)
        .bind(u32::from(head.shard))
        .bind(&head.timeline)
        .bind(&head.segment)
        .bind(head.offset)
        .bind(head.until)
        .bind(&head.digest)
        .bind(Timestamp::now());
        self.write(statement).await.map(drop)
    }

    async fn forget_head(&self, instance_id: &str, shard: u16, timeline: &str) -> Result<(), Fault> {
        let forget = Statement::new("DELETE FROM log_heads WHERE instance_id = $1 AND shard = $2 AND timeline = $3")
            .bind(instance_id)
            .bind(u32::from(shard))
            .bind(timeline);
        self.write(forget).await.map(drop)
    }
}
