//! A bucket that lists late: what was just put there is known by the job that has put it, and by its manifest.

use super::service::{days, long_over};
use crate::support::backup_set::put_set_on;
use crate::support::log::{LONG, Service};
use crate::support::s3::{self, Fate, Line};
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::Timestamp;
use std::sync::{Arc, Mutex};
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::vault::signing::Signing;

/// The answer to a listing that knows of these names alone.
fn listing(names: &[String]) -> Fate {
    let row = |name: &String| {
        format!(
            "<Version><Key>{name}</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>1</Size>\
             <LastModified>2026-01-01T00:00:00Z</LastModified></Version>"
        )
    };
    let rows: String = names.iter().map(row).collect();
    let body = format!("<ListVersionsResult><IsTruncated>false</IsTruncated>{rows}</ListVersionsResult>");
    Fate::Answer { status: 200, headers: vec![("content-type", "application/xml".into())], body: body.into_bytes() }
}

/// The window whose backup has succeeded wants no other while that is not listed yet, and `vault verify` does not call it removed.
#[test]
fn what_was_just_taken_is_there() {
    let (redis, prefix, now) = (Redis::start("redis-7.0", &[]), s3::prefix(), Timestamp::now());
    redis.run(&["SET", "a", "1"]);
    let listed: Arc<Mutex<Option<Vec<String>>>> = Arc::default();
    let known = Arc::clone(&listed);
    let line = Line::to(s3::port(), move |request| match &*known.lock().unwrap() {
        Some(names) if request.method == "GET" && request.target.contains("prefix=") => listing(names),
        _ => Fate::Pass,
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, &long_over(now))));
    bench.env = s3::environment(s3::KEY.1);
    assert!(bench.jobs().is_empty());
    // A set that is listed, of another window.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let signing = Arc::new(Signing::new(&bench.home(), Vec::new(), false));
    let vault = s3::vault_at(s3::port(), &prefix, bench.dir.path()).signed(signing);
    let id = "b-20260101T000000Z-000001";
    runtime.block_on(put_set_on(&vault, id, Mode::Automated, (now - days(3), None), ("i", 0)));
    let names = s3::store_at(s3::port(), &prefix).list("orders").unwrap();
    *listed.lock().unwrap() = Some(names.iter().map(|name| format!("{prefix}/orders/{name}")).collect());

    let told = || text(&bench.json(&["describe-instances"])["instances"][0]["protection"]["backup_policy"]);
    assert!(told().contains("is not taken"), "{}", told());
    let service = Service::start(&bench);
    let job = wait("the backup that is due", LONG, || {
        bench.jobs().into_iter().find(|job| job["kind"] == "backup" && job["status"] == "succeeded")
    });
    assert_eq!(service.ask_to_end(), Some(0));
    let taken = text(&job["backup_id"]);
    let ids = || bench.backups().iter().map(|set| text(&set["backup_id"])).collect::<Vec<_>>();
    assert_eq!(ids(), [id], "{taken} is not listed yet");
    assert!(!told().contains("is not taken"), "{}", told());
    let verified = bench.json(&["vault", "verify"]);
    let row = verified["sets"].as_array().unwrap().iter().find(|row| row["backup_id"] == taken.as_str()).unwrap();
    assert_eq!(row["record"], "same", "{verified}");

    *listed.lock().unwrap() = None;
    assert_eq!(ids(), [taken.as_str(), id]);
}
