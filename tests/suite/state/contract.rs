//! The contract of a state store, for whatever implements its traits: each promise is checked through the traits alone, by
//! stores that share one place as processes do. Run on each database.

use super::places::Place;
use super::portable::head;
use crate::guard::flow::plan;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tair_backup_mcp::guard::act::Act;
use tair_backup_mcp::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus as Status, Superseded};
use tair_backup_mcp::model::backup::{ManifestDigest, Mode};
use tair_backup_mcp::model::calendar::usual;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::job::{Job, JobKind, JobStatus, Phase, RecoveryKind, StoredRecovery};
use tair_backup_mcp::model::log::LogHead;
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::model::restore::RestoredTo;
use tair_backup_mcp::model::restored_keys::RestoredKeys;
use tair_backup_mcp::model::verification::{Level, Look, Verification};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::jobs::{Begun, JobsOf, NewJob};
use tair_backup_mcp::state::leases::Held;
use tair_backup_mcp::state::notified::{Noticed, ToTell, Untold, WAITING_MAX, interrupted};

promises! {
    one_exclusive_job_an_instance,
    a_job_remembers_what_it_restores,
    a_job_remembers_who_asked,
    a_job_goes_from_phase_to_phase_and_ends_once,
    a_failed_job_keeps_its_record_until_it_is_reconciled,
    a_job_begins_once_in_the_audit,
    a_job_ends_once_in_the_audit,
    a_pending_rollback_keeps_other_restores_out,
    a_dead_owners_jobs_are_handed_to_exactly_one,
    what_is_released_is_adopted_again,
    what_is_adopted_is_the_adopters_alone,
    a_set_is_in_the_making_until_its_job_has_ended,
    changes_are_told_at_once_here_and_soon_from_elsewhere,
    a_lease_has_one_holder_and_a_growing_epoch,
    a_dead_holders_lease_is_taken_over,
    a_lease_outlives_no_work,
    a_policy_is_kept_whole_and_since_when,
    a_confirmation_moves_once,
    what_was_taken_for_a_plan_stays_known,
    of_equal_plans_one_is_left,
    the_audit_is_in_order,
    what_was_verified_last_is_kept,
    a_manifest_is_remembered_as_it_was_put,
    the_head_of_a_log_never_goes_back,
    what_somebody_is_told_is_told_once,
    an_alarm_is_on_once_at_a_time,
}

pub fn new<'a>(id: &'a str, kind: JobKind, instance_id: &'a str) -> NewJob<'a> {
    NewJob {
        id,
        provider: "local",
        kind,
        instance_id,
        backup_id: "b-1",
        exclusive: true,
        caller: "",
        confirmation: "",
        access: None,
        under: None,
        audit: None,
    }
}

async fn started(store: &Arc<dyn State>, new: NewJob<'_>) -> Job {
    match store.begin(new).await.unwrap() {
        Begun::Started(job) => job,
        Begun::Joined(job) => panic!("joined {job:?}"),
    }
}

pub fn record() -> StoredRecovery {
    StoredRecovery { kind: RecoveryKind::LocalRestore, json: r#"{"back":"the way"}"#.into() }
}

fn fault() -> Fault {
    Fault::new(Kind::Provider, "restore.failed", "the target is away").hint("Bring it back.")
}

pub fn confirmation(nonce: &str, instance_id: &str, minutes: i64) -> Confirmation {
    let now = Timestamp::now();
    let mut plan = plan();
    plan.instance_id = instance_id.into();
    let expires_at = now + SignedDuration::from_mins(minutes);
    Confirmation {
        nonce: nonce.into(),
        plan,
        caller: "a".into(),
        created_at: now,
        expires_at,
        status: Status::Open,
        wrong_answers: 0,
    }
}

async fn one_exclusive_job_an_instance(place: &impl Place) {
    let (one, two) = (place.open(), place.open());
    let first = started(&one, new("bj-1", JobKind::Backup, "orders")).await;
    let Begun::Joined(same) = two.begin(new("bj-2", JobKind::Backup, "orders")).await.unwrap() else { panic!("two") };
    assert_eq!(same.id, first.id);
    let busy = two.begin(new("rj-1", JobKind::Restore, "orders")).await.unwrap_err();
    assert_eq!((busy.code, busy.retry_after.is_some()), ("job.busy", true), "{busy:?}");
    // Another instance is free, and what is not exclusive runs beside.
    started(&two, new("rj-2", JobKind::Restore, "carts")).await;
    started(&two, NewJob { exclusive: false, ..new("bj-3", JobKind::Backup, "orders") }).await;
    one.finish("bj-1", Ok("done"), None).await.unwrap();
    started(&two, new("rj-3", JobKind::Restore, "orders")).await;
    assert_eq!(one.jobs(Some("orders")).await.unwrap().len(), 3);
    assert_eq!(one.jobs(None).await.unwrap().len(), 4);
    // A page has the same jobs in the same order, and says how many there are.
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let all = ids(one.jobs(Some("orders")).await.unwrap());
    for (skip, most, shown) in [(0, 2, &all[..2]), (2, 2, &all[2..]), (3, 2, &all[3..])] {
        let (page, total) = two.page(Some("orders"), skip, most).await.unwrap();
        assert_eq!((ids(page).as_slice(), total), (shown, 3));
    }
    assert_eq!(two.page(None, 0, 1).await.unwrap().1, 4);
    assert_eq!((two.succeeded("orders").await.unwrap(), two.succeeded("carts").await.unwrap()), (1, 0));
    assert_eq!(one.job("rj-9").await.unwrap_err().code, "job.not_found");
    // An id is given once.
    assert_eq!(two.begin(new("bj-1", JobKind::Backup, "users")).await.unwrap_err().code, "state.failed");
    // Of several that begin one at once one has begun it, and the others have joined that one.
    let many: Vec<_> = (0..4).map(|_| place.open()).collect();
    for round in 0..4 {
        let (instance, ids) = (format!("i-{round}"), [0, 1, 2, 3].map(|n| format!("bj-{round}-{n}")));
        let begun = many.iter().zip(&ids).map(|(store, id)| store.begin(new(id, JobKind::Backup, &instance)));
        let (mut started, mut joined) = (Vec::new(), Vec::new());
        for begun in join_all(begun).await {
            match begun.unwrap() {
                Begun::Started(job) => started.push(job.id),
                Begun::Joined(job) => joined.push(job.id),
            }
        }
        assert!(started.len() == 1 && joined == vec![started[0].clone(); 3], "{started:?} {joined:?}");
    }
    // Whoever judged under a lease that is another's by now begins nothing.
    let late = one.acquire("backup/users").await.unwrap().unwrap();
    one.give_back(&late).await.unwrap();
    let held = two.acquire("backup/users").await.unwrap().unwrap();
    let refused = one.begin(NewJob { under: Some(&late), ..new("bj-7", JobKind::Backup, "users") }).await.unwrap_err();
    assert_eq!(refused.code, "job.busy", "{refused:?}");
    started(&two, NewJob { under: Some(&held), ..new("bj-8", JobKind::Backup, "users") }).await;
}

async fn a_job_remembers_what_it_restores(place: &impl Place) {
    let store = place.open();
    let job = started(&store, new("rj-1", JobKind::Restore, "orders")).await;
    assert_eq!(job.restored, None);
    let position = Some("t-1/0/700".to_owned());
    let restored = RestoredTo { backup_id: "b-1".into(), position, moment: Timestamp::UNIX_EPOCH, ended: None };
    store.set_restored(&job.id, &restored).await.unwrap();
    assert_eq!(job.restored_keys, None);
    let (source, target) = (Some([(0, (7, 2))].into()), [(0, (7, 1)), (3, (1, 0))].into());
    let keys = RestoredKeys { source, target, as_loaded: true, expired: Some(1), evicted: None, of_some: false };
    store.set_restored_keys(&job.id, &keys).await.unwrap();
    // Another process reads it, whatever became of the job.
    store.finish(&job.id, Err(&fault()), None).await.unwrap();
    let read = place.open().job(&job.id).await.unwrap();
    assert_eq!((read.restored, read.restored_keys), (Some(restored), Some(keys)));
}

async fn a_job_remembers_who_asked(place: &impl Place) {
    let store = place.open();
    let new = NewJob { caller: "agent", confirmation: "0a1b", ..new("rj-1", JobKind::Restore, "orders") };
    let job = started(&store, new).await;
    assert_eq!((job.caller.as_str(), job.confirmation.as_str()), ("agent", "0a1b"));
    place.end(store).await;
    let orphan = place.open().adopt("local", None).await.unwrap().remove(0);
    assert_eq!((orphan.job.caller.as_str(), orphan.job.confirmation.as_str()), ("agent", "0a1b"));
}

async fn a_job_goes_from_phase_to_phase_and_ends_once(place: &impl Place) {
    let store = place.open();
    let job = started(&store, new("bj-1", JobKind::Backup, "orders")).await;
    assert_eq!((job.status, job.phase, job.stage.as_str()), (JobStatus::Running, Phase::Starting, "starting"));
    assert!(store.progress("bj-1", Phase::Working, "receiving", 7, 10).await.unwrap());
    store.set_backup_id("bj-1", "b-2").await.unwrap();
    let job = store.job("bj-1").await.unwrap();
    assert_eq!((job.phase, job.stage.as_str(), job.done, job.total), (Phase::Working, "receiving", 7, 10));
    assert_eq!((job.backup_id.as_str(), job.finished_at), ("b-2", None));
    store.save_recovery("bj-1", &record()).await.unwrap();
    store.finish("bj-1", Ok("10 keys"), None).await.unwrap();
    // Whoever comes late changes nothing.
    assert!(!store.progress("bj-1", Phase::Working, "late", 1, 1).await.unwrap());
    store.finish("bj-1", Err(&fault()), None).await.unwrap();
    store.fail_with_rollback_pending("bj-1", &fault(), None).await.unwrap();
    let job = place.open().job("bj-1").await.unwrap();
    assert_eq!((job.status, job.phase, job.stage.as_str()), (JobStatus::Succeeded, Phase::Ended, "succeeded"));
    assert_eq!((job.message.as_str(), job.code.as_str(), job.rollback_pending), ("10 keys", "", false));
    assert!(job.finished_at.is_some() && !job.needs_reconciliation());
    started(&store, new("bj-2", JobKind::Backup, "orders")).await;
    store.finish("bj-2", Err(&fault()), None).await.unwrap();
    let job = store.job("bj-2").await.unwrap();
    assert_eq!((job.status, job.stage.as_str(), job.code.as_str()), (JobStatus::Failed, "failed", "restore.failed"));
    assert_eq!((job.message.as_str(), job.hint.as_str()), ("the target is away", "Bring it back."));
}

async fn a_failed_job_keeps_its_record_until_it_is_reconciled(place: &impl Place) {
    let store = place.open();
    started(&store, new("rj-1", JobKind::Restore, "orders")).await;
    store.save_recovery("rj-1", &record()).await.unwrap();
    store.fail_with_rollback_pending("rj-1", &fault(), None).await.unwrap();
    let job = store.job("rj-1").await.unwrap();
    assert_eq!((job.status, job.stage.as_str()), (JobStatus::Failed, "failed; rollback pending"));
    assert!(job.rollback_pending && job.needs_reconciliation() && job.finished_at.is_some(), "{job:?}");
    // The process that gave it up may be the one to adopt it.
    let orphan = store.adopt("local", None).await.unwrap().remove(0);
    assert_eq!((orphan.job.id.as_str(), orphan.recovery), ("rj-1", Some(record())));
    store.reconciled("rj-1", "taken off", "Plan again.", None).await.unwrap();
    let job = store.job("rj-1").await.unwrap();
    assert_eq!((job.status, job.stage.as_str(), job.code.as_str()), (JobStatus::Failed, "failed", "restore.failed"));
    assert_eq!((job.message.as_str(), job.hint.as_str()), ("taken off", "Plan again."));
    assert!(!job.needs_reconciliation() && place.open().adopt("local", None).await.unwrap().is_empty());
    // A job without a recovery record left nothing to roll back.
    started(&store, new("rj-2", JobKind::Restore, "orders")).await;
    store.fail_with_rollback_pending("rj-2", &fault(), None).await.unwrap();
    let job = store.job("rj-2").await.unwrap();
    assert!(job.stage == "failed" && !job.needs_reconciliation(), "{job:?}");
}

/// The audit's line about a beginning comes with that beginning: whoever joins a job, or may not begin one, adds none.
async fn a_job_begins_once_in_the_audit(place: &impl Place) {
    let (one, two) = (place.open(), place.open());
    let line = |event: &str| AuditRecord::now(event, "agent", "orders", "detail");
    let (first, late, second) = (line("first"), line("late"), line("second"));
    started(&one, NewJob { audit: Some(&first), ..new("bj-1", JobKind::Backup, "orders") }).await;
    let joined = two.begin(NewJob { audit: Some(&late), ..new("bj-2", JobKind::Backup, "orders") }).await.unwrap();
    assert!(matches!(joined, Begun::Joined(_)), "{joined:?}");
    let busy = two.begin(NewJob { audit: Some(&late), ..new("rj-1", JobKind::Restore, "orders") }).await.unwrap_err();
    assert_eq!(busy.code, "job.busy", "{busy:?}");
    one.finish("bj-1", Ok(""), None).await.unwrap();
    started(&two, NewJob { audit: Some(&second), ..new("rj-2", JobKind::Restore, "orders") }).await;
    let records = place.open().audit(None, None, 99).await.unwrap();
    let told: Vec<_> = records.iter().map(|r| (r.event.as_str(), r.caller.as_str(), r.instance_id.as_str())).collect();
    assert_eq!(told, [("first", "agent", "orders"), ("second", "agent", "orders")]);
}

/// The audit's line about an end comes with that end: whoever ends or reconciles a job that has ended, or is reconciled, adds none.
async fn a_job_ends_once_in_the_audit(place: &impl Place) {
    let store = place.open();
    let line = |event: &str| Some(AuditRecord::now(event, "agent", "orders", "detail"));
    started(&store, new("rj-1", JobKind::Restore, "orders")).await;
    assert!(store.finish("rj-1", Ok("10 keys"), line("first")).await.unwrap());
    assert!(!store.finish("rj-1", Ok("10 keys"), line("late")).await.unwrap());
    assert!(!store.fail_with_rollback_pending("rj-1", &fault(), line("late")).await.unwrap());
    assert!(!store.reconciled("rj-1", "", "", line("late")).await.unwrap());
    started(&store, new("rj-2", JobKind::Restore, "orders")).await;
    store.save_recovery("rj-2", &record()).await.unwrap();
    assert!(!store.reconciled("rj-2", "", "", line("early")).await.unwrap());
    assert!(store.fail_with_rollback_pending("rj-2", &fault(), line("second")).await.unwrap());
    assert!(!store.finish("rj-2", Err(&fault()), line("late")).await.unwrap());
    assert!(!store.reconciled("rj-2", "taken off", "", line("early")).await.unwrap(), "nobody has adopted it");
    assert_eq!(store.adopt("local", None).await.unwrap().len(), 1);
    assert!(store.reconciled("rj-2", "taken off", "", line("third")).await.unwrap());
    assert!(!store.reconciled("rj-2", "taken off", "", line("late")).await.unwrap());
    let events: Vec<String> = place.open().audit(None, None, 99).await.unwrap().into_iter().map(|r| r.event).collect();
    assert_eq!(events, ["first", "second", "third"]);
}

async fn a_pending_rollback_keeps_other_restores_out(place: &impl Place) {
    let store = place.open();
    started(&store, new("rj-1", JobKind::Restore, "orders")).await;
    store.save_recovery("rj-1", &record()).await.unwrap();
    store.fail_with_rollback_pending("rj-1", &fault(), None).await.unwrap();
    let refused = store.begin(new("rj-2", JobKind::Restore, "orders")).await.unwrap_err();
    assert_eq!(refused.code, "restore.unsettled", "{refused:?}");
    assert!(refused.message.contains("rj-1"), "{refused:?}");
    started(&store, new("bj-1", JobKind::Backup, "orders")).await;
    store.finish("bj-1", Ok(""), None).await.unwrap();
    assert_eq!(store.adopt("local", None).await.unwrap().len(), 1);
    assert!(store.reconciled("rj-1", "", "", None).await.unwrap());
    started(&store, new("rj-3", JobKind::Restore, "orders")).await;
}

async fn a_dead_owners_jobs_are_handed_to_exactly_one(place: &impl Place) {
    let (dying, living) = (place.open(), place.open());
    started(&dying, new("rj-1", JobKind::Restore, "orders")).await;
    dying.save_recovery("rj-1", &record()).await.unwrap();
    started(&dying, new("bj-1", JobKind::Backup, "carts")).await;
    started(&dying, NewJob { provider: "tair", ..new("bj-2", JobKind::Backup, "r-1") }).await;
    started(&living, new("bj-3", JobKind::Backup, "users")).await;
    let next = [place.open(), place.open()];
    assert!(next[0].adopt("local", None).await.unwrap().is_empty(), "their owners live");
    place.end(dying).await;
    let (one, two) = tokio::join!(next[0].adopt("local", None), next[1].adopt("local", None));
    let mut orphans = one.unwrap();
    orphans.extend(two.unwrap());
    orphans.sort_by(|a, b| a.job.id.cmp(&b.job.id));
    let ids: Vec<&str> = orphans.iter().map(|o| o.job.id.as_str()).collect();
    assert_eq!(ids, ["bj-1", "rj-1"]);
    assert_eq!((&orphans[0].recovery, &orphans[1].recovery), (&None, &Some(record())));
    assert_eq!(next[0].adopt("tair", None).await.unwrap()[0].job.id, "bj-2");
}

async fn what_is_released_is_adopted_again(place: &impl Place) {
    let store = place.open();
    started(&store, new("rj-1", JobKind::Restore, "orders")).await;
    store.release("rj-1", Phase::Interrupted, "interrupted; away").await.unwrap();
    let job = store.job("rj-1").await.unwrap();
    assert_eq!((job.status, job.phase), (JobStatus::Running, Phase::Interrupted));
    assert!(job.stage == "interrupted; away" && job.needs_reconciliation(), "{job:?}");
    assert_eq!(store.adopt("local", None).await.unwrap().len(), 1);
    store.release("rj-1", Phase::Detached, "goes on").await.unwrap();
    let job = store.job("rj-1").await.unwrap();
    assert!(job.phase == Phase::Detached && !job.needs_reconciliation(), "{job:?}");
    let next = place.open();
    assert_eq!(next.adopt("local", None).await.unwrap().len(), 1);
    place.end(next).await;
    assert_eq!(store.adopt("local", None).await.unwrap().len(), 1);
    // A failed one stays failed, and says why its rollback is pending.
    store.save_recovery("rj-1", &record()).await.unwrap();
    store.fail_with_rollback_pending("rj-1", &fault(), None).await.unwrap();
    store.release("rj-1", Phase::Interrupted, "failed; rollback pending; away").await.unwrap();
    let job = store.job("rj-1").await.unwrap();
    assert_eq!((job.status, job.phase), (JobStatus::Failed, Phase::Ended));
    assert!(job.stage.ends_with("away") && job.needs_reconciliation(), "{job:?}");
    // What has ended is nobody's to release.
    assert_eq!(store.adopt("local", None).await.unwrap().len(), 1);
    assert!(store.reconciled("rj-1", "", "", None).await.unwrap());
    store.release("rj-1", Phase::Interrupted, "late").await.unwrap();
    assert_eq!(store.job("rj-1").await.unwrap().stage, "failed");
}

/// A process that was taken for dead and goes on: here one that gave its job up.
async fn what_is_adopted_is_the_adopters_alone(place: &impl Place) {
    let (late, next) = (place.open(), place.open());
    started(&late, new("rj-1", JobKind::Restore, "orders")).await;
    late.release("rj-1", Phase::Interrupted, "interrupted").await.unwrap();
    assert_eq!(next.adopt("local", None).await.unwrap().len(), 1);
    next.save_recovery("rj-1", &record()).await.unwrap();
    assert!(!late.progress("rj-1", Phase::Working, "late", 1, 2).await.unwrap());
    // What would need rolled back is not written down, and so nothing may be touched any more.
    let late_record = StoredRecovery { json: "{}".into(), ..record() };
    assert_eq!(late.save_recovery("rj-1", &late_record).await.unwrap_err().code, "job.taken_over");
    let before = late.job("rj-1").await.unwrap();
    let restored = RestoredTo { backup_id: "b-9".into(), position: None, moment: Timestamp::UNIX_EPOCH, ended: None };
    let keys =
        RestoredKeys { source: None, target: [].into(), as_loaded: true, expired: None, evicted: None, of_some: false };
    for written in [
        late.set_backup_id("rj-1", "b-9").await,
        late.set_cloud_jobs("rj-1", &[9]).await,
        late.set_restored("rj-1", &restored).await,
        late.set_restored_keys("rj-1", &keys).await,
        late.serving("rj-1", Timestamp::UNIX_EPOCH).await,
    ] {
        assert_eq!(written.unwrap_err().code, "job.taken_over");
    }
    let after = late.job("rj-1").await.unwrap();
    assert_eq!((after.backup_id, after.cloud_jobs, after.serving_at), (before.backup_id, before.cloud_jobs, None));
    assert_eq!((after.restored, after.restored_keys), (None, None));
    late.finish("rj-1", Ok("late"), None).await.unwrap();
    late.fail_with_rollback_pending("rj-1", &fault(), None).await.unwrap();
    late.release("rj-1", Phase::Detached, "late").await.unwrap();
    let job = late.job("rj-1").await.unwrap();
    assert_eq!((job.status, job.phase), (JobStatus::Running, Phase::Interrupted));
    assert!(job.stage == "interrupted" && place.open().adopt("local", None).await.unwrap().is_empty(), "{job:?}");
    next.release("rj-1", Phase::Interrupted, "interrupted; away").await.unwrap();
    assert_eq!(next.adopt("local", None).await.unwrap()[0].recovery, Some(record()));
    assert!(next.fail_with_rollback_pending("rj-1", &fault(), None).await.unwrap());
    assert_eq!(next.adopt("local", None).await.unwrap().len(), 1);
    assert!(!late.reconciled("rj-1", "late", "", None).await.unwrap());
    assert!(next.reconciled("rj-1", "ended", "", None).await.unwrap());
    assert_eq!(late.job("rj-1").await.unwrap().message, "ended");
}

/// That its process is dead does not make it damage: nobody has looked at it yet.
async fn a_set_is_in_the_making_until_its_job_has_ended(place: &impl Place) {
    let (dying, next) = (place.open(), place.open());
    let sets = async || {
        let (made, given_up) = (next.sets_in_the_making("orders").await, next.sets_given_up("orders").await);
        (made.unwrap(), given_up.unwrap())
    };
    started(&dying, NewJob { backup_id: "b-1", ..new("bj-1", JobKind::Backup, "orders") }).await;
    started(&dying, NewJob { backup_id: "b-2", ..new("bj-2", JobKind::Backup, "carts") }).await;
    assert_eq!(sets().await, (vec!["b-1".to_owned()], vec![]));
    place.end(dying).await;
    assert_eq!(sets().await, (vec!["b-1".to_owned()], vec![]));
    assert_eq!(next.adopt("local", None).await.unwrap().len(), 2);
    next.finish("bj-1", Err(&fault()), None).await.unwrap();
    assert_eq!(sets().await, (vec![], vec!["b-1".to_owned()]));
    started(&next, NewJob { backup_id: "b-3", ..new("bj-3", JobKind::Backup, "orders") }).await;
    next.finish("bj-3", Ok(""), None).await.unwrap();
    started(&next, NewJob { backup_id: "b-2", ..new("rj-4", JobKind::Restore, "orders") }).await;
    // A restore makes one itself, under an id that follows from its own.
    assert_eq!(sets().await, (vec!["b-4".to_owned()], vec!["b-1".to_owned()]));
    // However many jobs came since: what is asked of some is not hidden by the others.
    for n in 0..51 {
        let id = format!("vj-{n}");
        started(&next, NewJob { exclusive: false, ..new(&id, JobKind::Verification, "orders") }).await;
        next.finish(&id, Ok(""), None).await.unwrap();
    }
    assert_eq!(sets().await, (vec!["b-4".to_owned()], vec!["b-1".to_owned()]));
    let mut in_use = next.sets_in_use().await.unwrap();
    in_use.sort();
    assert_eq!(in_use, ["b-2"], "that of the job on carts, too");
    let latest =
        async |of: JobsOf<'static>| next.latest(of).await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(latest(JobsOf::kind("orders", JobKind::Restore)).await, ["rj-4"]);
    let backups = JobsOf::kind("orders", JobKind::Backup);
    assert_eq!(latest(backups).await, ["bj-3", "bj-1"]);
    assert_eq!(latest(JobsOf { status: Some(JobStatus::Failed), ..backups }).await, ["bj-1"]);
    assert!(latest(JobsOf { caller: Some("somebody"), ..backups }).await.is_empty());
    assert_eq!(latest(JobsOf::kind("orders", JobKind::Verification)).await.len(), 50);
    assert_eq!(latest(JobsOf::running("orders")).await, ["rj-4"]);
}

async fn changes_are_told_at_once_here_and_soon_from_elsewhere(place: &impl Place) {
    let (here, there) = (place.open(), place.open());
    started(&here, new("bj-1", JobKind::Backup, "orders")).await;
    started(&there, new("bj-2", JobKind::Backup, "carts")).await;
    // A change between asking for changes and waiting for them is not missed.
    let mut changes = here.changes();
    here.progress("bj-1", Phase::Working, "one", 1, 2).await.unwrap();
    let fallback = Duration::from_millis(500);
    let waited = async |changes: &mut tair_backup_mcp::state::jobs::Changes| {
        let begun = Instant::now();
        changes.changed().await;
        begun.elapsed()
    };
    assert!(waited(&mut changes).await < fallback);
    // The fastest of several, for the machine may be busy.
    let mut fastest = Duration::MAX;
    for done in 0..5 {
        let (took, written) = tokio::join!(waited(&mut changes), here.progress("bj-1", Phase::Working, "two", done, 5));
        written.unwrap();
        fastest = fastest.min(took);
    }
    assert!(fastest < fallback / 2, "{fastest:?}");
    // Nobody notifies of another process's, so the wait ends by itself.
    there.progress("bj-2", Phase::Working, "three", 1, 2).await.unwrap();
    let took = waited(&mut changes).await;
    assert!(took >= fallback && took < fallback * 10, "{took:?}");
    assert_eq!(here.job("bj-2").await.unwrap().stage, "three");
}

async fn a_lease_has_one_holder_and_a_growing_epoch(place: &impl Place) {
    let (one, two) = (place.open(), place.open());
    assert_eq!(one.holder("archive/orders").await.unwrap(), None);
    let first = one.acquire("archive/orders").await.unwrap().unwrap();
    assert_eq!((first.name.as_str(), first.epoch), ("archive/orders", 1));
    assert_eq!(two.holder("archive/orders").await.unwrap().as_ref(), Some(&first));
    // Neither another process nor a second task of the holder.
    assert_eq!(two.acquire("archive/orders").await.unwrap(), None);
    assert_eq!(one.acquire("archive/orders").await.unwrap(), None);
    assert!(one.renew(&first).await.unwrap());
    let other = two.acquire("archive/carts").await.unwrap().unwrap();
    assert_ne!(other.holder, first.holder);
    one.give_back(&first).await.unwrap();
    assert_eq!(two.holder("archive/orders").await.unwrap(), None);
    assert!(!one.renew(&first).await.unwrap());
    let second = two.acquire("archive/orders").await.unwrap().unwrap();
    assert!(second.epoch > first.epoch, "{second:?}");
    // What the earlier holder still says is not heeded.
    one.give_back(&first).await.unwrap();
    assert!(!one.renew(&first).await.unwrap() && two.renew(&second).await.unwrap());
    assert_eq!(one.holder("archive/orders").await.unwrap(), Some(second));
}

/// A lease is free again when the work under it is over: done, given up, or ended by a bug.
async fn a_lease_outlives_no_work(place: &impl Place) {
    let (one, two) = (place.open(), place.open());
    let free = || async {
        let deadline = Instant::now() + Duration::from_secs(10);
        while two.holder("policy/orders").await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "the lease is still held");
            tokio::task::yield_now().await;
        }
    };
    let held = Held::acquire(one.clone(), "policy/orders").await.unwrap().unwrap();
    assert!(Held::acquire(two.clone(), "policy/orders").await.unwrap().is_none());
    held.give_back().await;
    assert_eq!(two.holder("policy/orders").await.unwrap(), None);
    let beside = Held::alone(one.clone(), "policy/orders", async {
        Held::alone(two.clone(), "policy/orders", async { Ok("beside") }).await
    });
    assert_eq!(beside.await.unwrap(), Some(None), "another is at it");
    let failed = Held::alone(one.clone(), "policy/orders", async { Err::<(), _>(fault()) }).await;
    assert_eq!((failed.unwrap_err().code, two.holder("policy/orders").await.unwrap()), (fault().code, None));
    for ends in [|| {}, || panic!("a bug")] {
        let held = Held::acquire(one.clone(), "policy/orders").await.unwrap().unwrap();
        let work = tokio::spawn(async move {
            let _held = held;
            tokio::task::yield_now().await;
            ends();
        });
        let _ = work.await;
        free().await;
    }
    let held = Held::acquire(one.clone(), "policy/orders").await.unwrap().unwrap();
    let work = tokio::spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    work.abort();
    free().await;
}

async fn a_dead_holders_lease_is_taken_over(place: &impl Place) {
    let dying = place.open();
    let lost = dying.acquire("archive/orders").await.unwrap().unwrap();
    place.end(dying).await;
    let next: Vec<Arc<dyn State>> = (0..4).map(|_| place.open()).collect();
    assert_eq!(next[0].holder("archive/orders").await.unwrap(), None);
    let taken = join_all(next.iter().map(|store| store.acquire("archive/orders"))).await;
    let taken: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert!(taken[0].epoch > lost.epoch && taken[0].holder != lost.holder, "{taken:?}");
    assert!(!next[0].renew(&lost).await.unwrap());
}

async fn a_policy_is_kept_whole_and_since_when(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.stored_policy("orders").await.unwrap(), None);
    let log = BackupPolicy { enable_backup_log: true, ..BackupPolicy::none() };
    let under = store.acquire("policy/orders").await.unwrap().unwrap();
    store.set_policy("orders", &log, &under).await.unwrap();
    let other = place.open();
    let read = async || other.stored_policy("orders").await.unwrap().unwrap();
    assert_eq!((read().await.policy, read().await.calendar_since), (log, None));
    let daily = BackupPolicy { enable_backup_log: true, ..usual() };
    store.set_policy("orders", &daily, &under).await.unwrap();
    let since = read().await.calendar_since.unwrap();
    assert_eq!(read().await.policy, daily);
    // Since when there is a calendar at all: another one does not begin anew.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let longer = BackupPolicy { backup_retention_period: 30, ..usual() };
    store.set_policy("orders", &longer, &under).await.unwrap();
    assert_eq!((read().await.policy, read().await.calendar_since), (longer.clone(), Some(since)));
    let later = BackupPolicy { preferred_backup_time: "05:00Z-06:00Z".into(), ..longer };
    store.set_policy("orders", &later, &under).await.unwrap();
    assert_eq!(read().await.calendar_since, Some(since));
    assert!(read().await.changed_at > since);
    // Who has stood still since reading what was set changes nothing behind whoever has worked on it meanwhile.
    store.give_back(&under).await.unwrap();
    let next = other.acquire("policy/orders").await.unwrap().unwrap();
    assert_eq!(store.set_policy("orders", &daily, &under).await.unwrap_err().code, "job.busy");
    assert_eq!(read().await.policy, later);
    other.set_policy("orders", &daily, &next).await.unwrap();
    assert_eq!(other.stored_policy("carts").await.unwrap(), None);
}

async fn a_confirmation_moves_once(place: &impl Place) {
    let (one, two) = (place.open(), place.open());
    one.open(&confirmation("1", "orders", 15)).await.unwrap();
    let mut other = confirmation("2", "orders", 15);
    other.plan.act = Act::DeleteBackup { backup_id: "b-2".into() };
    one.open(&other).await.unwrap();
    one.open(&confirmation("3", "carts", 15)).await.unwrap();
    let mut late = confirmation("4", "carts", -1);
    late.plan.act = Act::DeleteBackup { backup_id: "b-4".into() };
    one.open(&late).await.unwrap();
    let (a, b) = tokio::join!(
        one.transition("1", &[Status::Open, Status::Approved], Status::Redeemed),
        two.transition("1", &[Status::Open, Status::Approved], Status::Redeemed)
    );
    assert!(a.unwrap() != b.unwrap(), "one of two");
    assert!(!one.transition("4", &[Status::Open], Status::Redeemed).await.unwrap(), "expired");
    assert!(one.transition("2", &[Status::Open], Status::Approved).await.unwrap());
    assert_eq!(two.find("1").await.unwrap().unwrap().status, Status::Redeemed);
    let nonces = |all: Vec<Confirmation>| {
        let mut nonces: Vec<String> = all.into_iter().map(|c| c.nonce).collect();
        nonces.sort();
        nonces
    };
    assert_eq!(nonces(two.redeemable().await.unwrap()), ["2", "3"]);
    assert_eq!(nonces(two.waiting().await.unwrap()), ["3"]);
    one.withdraw_others("orders", "1").await.unwrap();
    assert_eq!(two.find("2").await.unwrap().unwrap().status, Status::Superseded);
    assert_eq!(two.find("3").await.unwrap().unwrap().status, Status::Open);
    assert_eq!(one.count_wrong_answer("3").await.unwrap(), 1);
    assert_eq!(two.count_wrong_answer("3").await.unwrap(), 2);
    assert!(two.find("9").await.unwrap().is_none());
    let many: Vec<_> = (0..4).map(|_| place.open()).collect();
    for nonce in ["10", "11", "12", "13"] {
        one.open(&confirmation(nonce, "orders", 15)).await.unwrap();
        let redeemed = many.iter().map(|store| store.transition(nonce, &[Status::Open], Status::Redeemed));
        let redeemed: Vec<bool> = join_all(redeemed).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(redeemed.iter().filter(|redeemed| **redeemed).count(), 1, "{nonce}: {redeemed:?}");
    }
}

/// Also where the plan was never made, and of no other instance, nor what was taken for no plan; and said by no process but the job's own.
async fn what_was_taken_for_a_plan_stays_known(place: &impl Place) {
    let store = place.open();
    for (id, backup_id, instance_id) in [("bj-1", "b-1", "orders"), ("bj-2", "b-2", "carts")] {
        started(&store, NewJob { backup_id, ..new(id, JobKind::Backup, instance_id) }).await;
    }
    assert!(store.taken_for_plans("orders").await.unwrap().is_empty());
    store.set_mode("bj-1", Mode::Safety).await.unwrap();
    assert_eq!(place.open().set_mode("bj-2", Mode::Safety).await.unwrap_err().code, "job.taken_over");
    store.finish("bj-1", Ok("taken"), None).await.unwrap();
    let of = async |id: &str| place.open().taken_for_plans(id).await.unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!((of("orders").await, of("carts").await), (vec!["b-1".to_owned()], Vec::new()));
}

/// Of equal plans, which one caller made of one act, one is left that can be carried out, whichever facts each has and however many are made at
/// once; and that an earlier one had a yes is not forgotten. Lapsed ones are there for who asks for them.
async fn of_equal_plans_one_is_left(place: &impl Place) {
    let (one, two) = (place.open(), place.open());
    let made = |nonce: &str, change: fn(&mut Confirmation)| {
        let mut made = confirmation(nonce, "orders", 15);
        change(&mut made);
        made
    };
    assert_eq!(one.open(&made("1", |_| {})).await.unwrap(), None);
    type Change = fn(&mut Confirmation);
    let others: [(&str, Change); 3] = [
        ("2", |c| c.caller = "b".into()),
        ("3", |c| c.plan.instance_id = "carts".into()),
        ("4", |c| c.plan.act = Act::DeleteBackup { backup_id: "b-2".into() }),
    ];
    for (nonce, change) in others {
        assert_eq!(one.open(&made(nonce, change)).await.unwrap(), None, "{nonce}");
    }
    let facts: fn(&mut Confirmation) = |c| c.plan.warnings.clear();
    assert_eq!(two.open(&made("5", facts)).await.unwrap(), Some(Superseded::Waiting));
    let status = async |nonce: &str| one.find(nonce).await.unwrap().unwrap().status;
    assert_eq!((status("1").await, status("5").await), (Status::Superseded, Status::Open));
    assert!(!one.transition("1", &[Status::Open, Status::Approved], Status::Approved).await.unwrap());
    for nonce in ["2", "3", "4"] {
        assert_eq!(status(nonce).await, Status::Open, "{nonce}");
    }
    assert!(one.transition("5", &[Status::Open], Status::Approved).await.unwrap());
    assert_eq!(two.open(&made("6", |_| {})).await.unwrap(), Some(Superseded::Approved));
    assert_eq!((status("5").await, status("6").await), (Status::ApprovalSuperseded, Status::Open));
    assert!(!two.transition("5", &[Status::Open, Status::Approved], Status::Redeemed).await.unwrap());

    let many: Vec<_> = (0..4).map(|_| place.open()).collect();
    for round in 0..4 {
        let plans: Vec<_> = (0..4).map(|n| confirmation(&format!("{round}/{n}"), "users", 15)).collect();
        let opened = join_all(many.iter().zip(&plans).map(|(store, plan)| store.open(plan))).await;
        let none = opened.into_iter().filter(|superseded| superseded.as_ref().unwrap().is_none()).count();
        assert_eq!(none, usize::from(round == 0), "each but the first took another's place");
        let left = one.redeemable().await.unwrap().into_iter().filter(|c| c.plan.instance_id == "users").count();
        assert_eq!(left, 1, "round {round}");
    }

    let of = async |within: u64, instance: &str| {
        let all = two.plans(Duration::from_secs(within)).await.unwrap();
        all.into_iter().filter(|c| c.plan.instance_id == instance).map(|c| c.nonce).collect::<Vec<_>>()
    };
    assert_eq!(one.open(&confirmation("late", "mail", -1)).await.unwrap(), None);
    assert_eq!((of(0, "mail").await, of(10, "mail").await), (vec![], vec![]));
    assert_eq!(of(3600, "mail").await, ["late"]);
    // What has lapsed is no plan that somebody could still carry out; it is not shown beside the one that took its place.
    assert_eq!(two.open(&confirmation("next", "mail", 15)).await.unwrap(), None);
    assert_eq!(of(3600, "mail").await, ["next"]);
}

async fn the_audit_is_in_order(place: &impl Place) {
    let store = place.open();
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
    for n in 0..5 {
        let instance_id = if n % 2 == 0 { "orders" } else { "carts" };
        let record = AuditRecord::now("asked", "a", instance_id, format!("{n}"));
        store.record(AuditRecord { at: at(n), ..record }).await.unwrap();
    }
    let details = |all: Vec<AuditRecord>| all.into_iter().map(|r| r.detail).collect::<Vec<_>>();
    assert_eq!(details(place.open().audit(None, None, 3).await.unwrap()), ["2", "3", "4"]);
    assert_eq!(details(store.audit(Some("orders"), None, 2).await.unwrap()), ["2", "4"]);
    assert_eq!(details(store.audit(None, Some(at(2)), 99).await.unwrap()), ["2", "3", "4"]);
    assert_eq!(details(store.audit(Some("orders"), Some(at(1)), 99).await.unwrap()), ["2", "4"]);
    assert_eq!(details(store.audit(None, Some(at(1)), 1).await.unwrap()), ["4"]);
    assert!(store.audit(None, Some(at(5)), 99).await.unwrap().is_empty());
    // Page by page it is the same, and nothing stands on two.
    for (instance_id, since, all) in
        [(None, 0, &["0", "1", "2", "3", "4"][..]), (Some("orders"), 1, &["2", "4"][..]), (None, 5, &[][..])]
    {
        let (mut after, mut read) = (0, Vec::new());
        loop {
            let page = store.audit_page(instance_id, at(since), after, 2).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            assert!(page.len() <= 2 && *last > after);
            after = *last;
            read.extend(details(page.into_iter().map(|(_, record)| record).collect()));
        }
        assert_eq!(read, all);
    }
}

/// Of each set the last look of each level, which another process sees; what finds nothing lifts the faults of what it covers, and no other.
async fn what_was_verified_last_is_kept(place: &impl Place) {
    let (store, other) = (place.open(), place.open());
    let look = |second: i64, server: Option<&str>, fault: Option<&str>| Look {
        at: Timestamp::from_second(1_790_000_000 + second).unwrap(),
        sha256: "of the set".into(),
        server: server.map(str::to_owned),
        fault: fault.map(str::to_owned),
    };
    let (checksum, structure, drill) = (Level::Checksum, Level::Structure, Level::Drill);
    assert!(store.verifications("orders").await.unwrap().is_empty());
    let loaded = look(0, Some("Redis 7.0.15"), None);
    for (set, level, found) in [
        ("b-1", drill, &loaded),
        ("b-1", checksum, &look(1, None, Some("cut"))),
        ("b-1", checksum, &look(2, None, None)),
        ("b-2", checksum, &look(3, None, Some("cut"))),
        ("b-2", drill, &look(4, None, Some("does not load"))),
        // Earlier by its clock, and yet the last.
        ("b-2", structure, &look(1, None, None)),
    ] {
        store.set_verified("orders", set, level, found).await.unwrap();
    }
    store.set_verified("carts", "b-1", drill, &look(5, None, None)).await.unwrap();
    let kept = other.verifications("orders").await.unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["b-1", "b-2"]);
    assert_eq!(kept["b-1"], Verification([(checksum, look(2, None, None)), (drill, loaded)].into()));
    let dies = (drill, look(4, None, Some("does not load")));
    assert_eq!(kept["b-2"], Verification([(structure, look(1, None, None)), dies].into()));
    other.set_verified("orders", "b-2", drill, &look(6, None, None)).await.unwrap();
    let kept = store.verifications("orders").await.unwrap();
    assert_eq!(kept["b-2"], Verification([(structure, look(1, None, None)), (drill, look(6, None, None))].into()));
    // Of what is gone the last drill that was passed stays, and what no server has loaded.
    other.set_verified("orders", "b-3", checksum, &look(7, None, Some("cut"))).await.unwrap();
    other.set_verified("orders", "b-3", drill, &look(8, None, Some("does not load"))).await.unwrap();
    for gone in ["b-1", "b-2", "b-3", "b-4"] {
        store.forget_verified("orders", gone).await.unwrap();
    }
    let kept = other.verifications("orders").await.unwrap();
    let drills = [("b-2", look(6, None, None)), ("b-3", look(8, None, Some("does not load")))];
    let drills = drills.map(|(set, look)| (set.to_owned(), Verification([(drill, look)].into())));
    assert_eq!(kept, drills.into());
    assert_eq!(store.verifications("carts").await.unwrap().len(), 1);
}

async fn a_manifest_is_remembered_as_it_was_put(place: &impl Place) {
    let (store, other) = (place.open(), place.open());
    let digest = |sha256: &str, key: Option<&str>| ManifestDigest {
        sha256: sha256.into(),
        signed_by: key.map(str::to_owned),
        remembered: true,
    };
    let (signed, unsigned) = (digest("aa", Some("0102030405060708")), digest("bb", None));
    assert!(store.manifests(None).await.unwrap().is_empty());
    store.set_manifest("orders", "b-1", Some(&signed)).await.unwrap();
    store.set_manifest("orders", "b-2", Some(&unsigned)).await.unwrap();
    store.set_manifest("carts", "b-1", Some(&unsigned)).await.unwrap();
    // What lies in its place by now is not what was put.
    other.set_manifest("orders", "b-1", Some(&unsigned)).await.unwrap();
    let of = |instance_id: &str, id: &str| (instance_id.to_owned(), id.to_owned());
    let orders = other.manifests(Some("orders")).await.unwrap();
    assert_eq!(orders, [(of("orders", "b-1"), signed), (of("orders", "b-2"), unsigned.clone())].into());
    assert_eq!(store.manifests(None).await.unwrap().len(), 3);
    other.set_manifest("orders", "b-1", None).await.unwrap();
    other.set_manifest("orders", "b-9", None).await.unwrap();
    assert_eq!(store.manifests(Some("orders")).await.unwrap().len(), 1);
    // Deleted, the name is free again.
    store.set_manifest("orders", "b-1", Some(&unsigned)).await.unwrap();
    assert_eq!(store.manifests(Some("orders")).await.unwrap()[&of("orders", "b-1")], unsigned);
}

/// Of two processes the slower comes second; a segment that takes another's place at the same end is the newest.
async fn the_head_of_a_log_never_goes_back(place: &impl Place) {
    let (store, other) = (place.open(), place.open());
    assert!(store.heads(None).await.unwrap().is_empty());
    let carts = LogHead { instance_id: "carts".into(), ..head(3) };
    let next = LogHead { timeline: "t-2".into(), ..head(4) };
    for known in [&head(7), &head(9), &next, &carts] {
        store.set_head(known).await.unwrap();
    }
    other.set_head(&head(8)).await.unwrap();
    assert_eq!(other.heads(None).await.unwrap(), [carts.clone(), head(9), next.clone()]);
    let again = LogHead { segment: "again.seg".into(), digest: "bb".into(), ..head(9) };
    other.set_head(&again).await.unwrap();
    assert_eq!(store.heads(Some("orders")).await.unwrap(), [again, next.clone()]);
    store.forget_head("orders", 0, "t-1").await.unwrap();
    store.forget_head("nobody", 0, "t-1").await.unwrap();
    assert_eq!(other.heads(None).await.unwrap(), [carts, next]);
    // Forgotten, it may begin anywhere.
    store.set_head(&head(1)).await.unwrap();
    assert_eq!(store.heads(Some("orders")).await.unwrap()[0], head(1));
}

fn waiting(key: &str, body: &str) -> ToTell {
    ToTell::One(Untold { key: key.to_owned(), body: body.to_owned() })
}

/// What was noticed once is noticed by nobody else, and each way takes it once; what does not fit is taken together, behind the rest.
async fn what_somebody_is_told_is_told_once(place: &impl Place) {
    let (store, other) = (place.open(), place.open());
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
    assert_eq!(store.notified_since(at(0)).await.unwrap(), at(0));
    assert_eq!(other.notified_since(at(9)).await.unwrap(), at(0), "the first has said it");
    assert_eq!(other.notified_since(at(-5)).await.unwrap(), at(-5), "the clock was ahead");
    assert_eq!(store.notified_since(at(9)).await.unwrap(), at(-5));
    for id in ["vj-1", "vj-2"] {
        let new = NewJob { exclusive: false, ..new(id, JobKind::Verification, "orders") };
        drop(started(&store, new).await);
    }
    store.finish("vj-1", Err(&fault()), None).await.unwrap();
    let ids = async |since: Timestamp| {
        let jobs = other.unnoticed_jobs(since).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Timestamp::UNIX_EPOCH).await, ["vj-1"], "what runs has not ended");
    assert!(ids(Timestamp::now() + SignedDuration::from_secs(60)).await.is_empty());
    let ways = ["webhook", "ping"];
    assert!(store.notice(Noticed::Once("vj-1"), "one", &ways).await.unwrap());
    assert!(!other.notice(Noticed::Once("vj-1"), "another", &["webhook", "command"]).await.unwrap());
    assert!(ids(Timestamp::UNIX_EPOCH).await.is_empty());
    let one = waiting("vj-1", "one");
    assert_eq!(
        (other.take_to_tell("webhook").await.unwrap(), other.take_to_tell("command").await.unwrap()),
        (Some(one.clone()), None)
    );
    assert_eq!(store.take_to_tell("webhook").await.unwrap(), None, "somebody is at it");
    other.put_back("webhook", &one).await.unwrap();
    assert_eq!(store.take_to_tell("webhook").await.unwrap().as_ref(), Some(&one));
    let another = waiting("vj-2", "another");
    store.told("webhook", &another, Ok(())).await.unwrap();
    store.put_back("webhook", &another).await.unwrap();
    assert_eq!(store.take_to_tell("webhook").await.unwrap(), None, "of this one nothing was said");
    store.told("webhook", &one, Err("it is away")).await.unwrap();
    assert_eq!(store.take_to_tell("webhook").await.unwrap(), None);
    assert_eq!(store.take_to_tell("ping").await.unwrap().as_ref(), Some(&one));
    store.told("ping", &one, Ok(())).await.unwrap();
    let (told, failed) = other.told_last("webhook").await.unwrap();
    let failed = failed.unwrap();
    assert_eq!((told, failed.body.as_str(), failed.failure.as_str()), (None, "one", "it is away"));
    let (told, failed) = other.told_last("ping").await.unwrap();
    assert_eq!((told.unwrap().body.as_str(), failed), ("one", None));
    // What waits still is replaced where only the last is worth telling.
    for id in ["bj-1", "bj-2", "bj-3"] {
        assert!(store.notice(Noticed::Latest(id), id, &["ping"]).await.unwrap());
        assert!(!other.notice(Noticed::Latest(id), id, &["ping"]).await.unwrap());
    }
    let latest = other.take_to_tell("ping").await.unwrap().unwrap();
    assert!(matches!(latest.all(), [only] if only.body == "bj-3"), "{latest:?}");
    assert!(store.notice(Noticed::Latest("bj-4"), "bj-4", &["ping"]).await.unwrap());
    other.told("ping", &latest, Ok(())).await.unwrap();
    assert_eq!(other.told_last("ping").await.unwrap().0.unwrap().body, "bj-3", "what is being told is not replaced");
    assert!(other.take_to_tell("ping").await.unwrap().is_some() && other.take_to_tell("ping").await.unwrap().is_none());
    // What a dead process left that nobody can reconcile, until that is noticed.
    drop(started(&store, new("rj-1", JobKind::Restore, "orders")).await);
    let left = async || other.interrupted_jobs().await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert!(left().await.is_empty());
    store.release("rj-1", Phase::Interrupted, "interrupted; it is away").await.unwrap();
    assert_eq!(left().await, ["rj-1"]);
    assert!(store.notice(Noticed::Once(&interrupted("rj-1")), "", &[]).await.unwrap() && left().await.is_empty());
    // More than fit.
    for n in 0..WAITING_MAX + 3 {
        assert!(store.notice(Noticed::Once(&format!("gap/{n:03}")), &format!("{n}"), &["webhook"]).await.unwrap());
    }
    for n in 0..WAITING_MAX {
        let next = waiting(&format!("gap/{n:03}"), &format!("{n}"));
        assert_eq!(other.take_to_tell("webhook").await.unwrap().as_ref(), Some(&next));
        other.told("webhook", &next, Ok(())).await.unwrap();
    }
    let more = other.take_to_tell("webhook").await.unwrap().unwrap();
    let bodies: Vec<String> = more.all().iter().map(|untold| untold.body.clone()).collect();
    assert_eq!(bodies, (WAITING_MAX..WAITING_MAX + 3).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(matches!(more, ToTell::More(_)) && store.take_to_tell("webhook").await.unwrap().is_none());
    other.put_back("webhook", &more).await.unwrap();
    assert_eq!(store.take_to_tell("webhook").await.unwrap().as_ref(), Some(&more));
    // Given up by whoever tells next, it is not what comes of it for whoever tried.
    other.give_up("webhook", "its process has ended").await.unwrap();
    store.told("webhook", &more, Ok(())).await.unwrap();
    store.put_back("webhook", &more).await.unwrap();
    assert_eq!(store.take_to_tell("webhook").await.unwrap(), None);
    assert_eq!(store.told_last("webhook").await.unwrap().1.unwrap().failure, "its process has ended");
}

/// An alarm begins once, whoever notices it, ends once, and may begin anew; each is told.
async fn an_alarm_is_on_once_at_a_time(place: &impl Place) {
    let (store, other) = (place.open(), place.open());
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
    let on = async || store.alarms().await.unwrap().into_iter().collect::<Vec<_>>();
    let alarm = |since: i64| Noticed::On("alarm/backup/orders", at(since));
    let off = Noticed::Off("alarm/backup/orders");
    assert!(!store.notice(off, "over", &["webhook"]).await.unwrap(), "it was never on");
    for (since, body) in [(1, "first"), (5, "second")] {
        assert!(store.notice(alarm(since), body, &["webhook"]).await.unwrap());
        assert!(!other.notice(alarm(since + 1), "again", &["webhook"]).await.unwrap());
        assert_eq!(on().await, [("alarm/backup/orders".to_owned(), at(since))]);
        // What is told is in the order of its milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(other.notice(off, "over", &["webhook"]).await.unwrap());
        assert!(!store.notice(off, "over", &["webhook"]).await.unwrap() && on().await.is_empty());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for body in ["first", "over", "second", "over"] {
        let next = other.take_to_tell("webhook").await.unwrap().unwrap();
        assert!(matches!(&next, ToTell::One(one) if one.body == body), "{next:?}");
        other.told("webhook", &next, Ok(())).await.unwrap();
    }
    assert_eq!(other.take_to_tell("webhook").await.unwrap(), None);
}
