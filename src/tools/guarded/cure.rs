//! What to do where a check blocks: of each check the step that is there on this very instance, with its arguments.
//!
//! It must not offer a way that nobody has looked for: a set that there is not, or a clone that no server program here could run.

use super::Flow;
use crate::guard::act::{Act, CloneOrder, Source};
use crate::guard::check::{CheckName, Precheck, Status};
use crate::guard::plan::PLAN_AGAIN;
use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::Fault;
use crate::model::instance::Capability;
use crate::model::sets::last_backup;
use crate::model::time::written_ms;
use crate::tools::newest_rows::name_safety_backups;
use jiff::Timestamp;

/// A next step: a sentence, and the call in it, where there is one.
type Step = (String, Option<String>);

impl Flow<'_> {
    /// The next steps where checks block, as sentences; and the calls among them, which end with that of a new plan.
    pub(super) async fn cures(&self, prechecks: &[Precheck]) -> (String, Vec<String>) {
        let (mut told, mut calls): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for check in prechecks.iter().filter(|check| check.status == Status::Block) {
            for (sentence, call) in self.cure(check.name).await {
                if !told.contains(&sentence) {
                    told.push(sentence);
                    calls.extend(call);
                }
            }
        }
        told.push("Then make a new plan.".to_owned());
        calls.push(PLAN_AGAIN.to_owned());
        (told.join(" "), calls)
    }

    async fn cure(&self, name: CheckName) -> Vec<Step> {
        let id = self.instance_id;
        let of = self.act.set_of(id);
        let only = |sentence: String| vec![(sentence, None)];
        match name {
            CheckName::InstanceReady => {
                only(format!("describe_instances with instance_id {id} shows its status and its role."))
            }
            CheckName::InstanceIdle => {
                let again = format!("describe_jobs with instance_id {id} tries the rollback again");
                only(match self.call.app.state.pending_rollback(id).await {
                    Ok(Some(job)) => {
                        let clear = self.call.app.config.command("clear-rollback");
                        format!(
                            "{again}; a person who has looked at the instance clears it in a terminal: `{clear} --job-id {job}`."
                        )
                    }
                    Ok(None) | Err(_) => format!("{again}."),
                })
            }
            CheckName::BackupVerified | CheckName::BackupExists => vec![self.another_set(of).await],
            CheckName::EngineCompatible => self.clone_instead(of).await.into_iter().collect(),
            CheckName::RoomForData => {
                let room = "Give the target more memory: a higher maxmemory, or more of its machine's.";
                let clone = self.clone_instead(of).await;
                std::iter::once((room.to_owned(), None)).chain(clone).collect()
            }
            CheckName::RestoreRights => {
                let doctor = self.call.app.config.command("doctor");
                only(format!("`{doctor}` has the line that grants every right that is lacking."))
            }
            CheckName::RestoreTime => {
                only(format!("describe_instances with instance_id {of} shows which moments can be restored."))
            }
            CheckName::TimeShift => only("Give a time_shift between restore_time and now, or leave it out.".to_owned()),
            CheckName::WriteTraffic => only(self.less_traffic().await),
            CheckName::WriteFence => only("Leave write_fence out.".to_owned()),
            CheckName::RoomHere => only("Free memory or disk on the machine of this program.".to_owned()),
            CheckName::SafetyBackup => {
                let call = format!("create_backup with instance_id {id}");
                vec![(format!("{call} shows whether what it holds can be backed up now."), Some(call))]
            }
            CheckName::ManualBackup => only(format!(
                "It goes by itself: describe_backup_policy with instance_id {id} shows how long such sets are kept."
            )),
            // A command of a person is judged anew by the same call.
            CheckName::KeepRules => Vec::new(),
            CheckName::Dependents => {
                only(format!("describe_jobs with instance_id {id} shows when the restore has ended."))
            }
            // Their details say what is to be done, or whoever reads them has to judge.
            CheckName::RestoreWay
            | CheckName::RestoreInPlace
            | CheckName::LogReplay
            | CheckName::FilterKey
            | CheckName::OtherBackups
            | CheckName::Protection
            | CheckName::DryRun
            | CheckName::Billing => Vec::new(),
        }
    }

    /// The whole sets that the act is not about, newest first; and whether there are others that this user may not read.
    async fn other_sets(&self, of: &str) -> Result<(Vec<BackupSet>, bool), Fault> {
        let mut listed = self.call.app.provider.backups(of, None).await?;
        name_safety_backups(&*self.call.app.state, of, &mut listed).await?;
        let is_other = |id: &str| Some(id) != self.act.backup_id();
        let is_lacking = |set: &DamagedSet| set.unreadable.is_some() && is_other(&set.id);
        let lacking = listed.iter().any(|set| set.as_ref().is_err_and(is_lacking));
        Ok((listed.into_iter().flatten().filter(|set| is_other(&set.id)).collect(), lacking))
    }

    /// Another set in the place of one that cannot be used.
    async fn another_set(&self, of: &str) -> Step {
        let restores = matches!(
            self.act,
            Act::RestoreInstance { source: Source::Backup { .. }, .. }
                | Act::CreateInstanceFromBackup { order: CloneOrder { source: Source::Backup { .. }, .. } }
        );
        let listed = format!("describe_backups with instance_id {of} lists the sets that are whole.");
        if !restores {
            return (listed, None);
        }
        let Ok((others, lacking)) = self.other_sets(of).await else { return (listed, None) };
        match last_backup(&others, Timestamp::now()).map(|set| &set.id) {
            Some(other) => {
                let call = match &self.act {
                    Act::RestoreInstance { source_instance_id: None, keys: None, write_fence: false, .. } => {
                        format!("restore_instance with instance_id {of} and backup_id {other}")
                    }
                    // What else was asked for must be asked for again: without its filter_key a call is about every key.
                    _ => format!("the same call with backup_id {other}"),
                };
                let of_those = if lacking { " that this user may read" } else { "" };
                (format!("{other} is the newest whole set beside it{of_those}: {call}."), Some(call))
            }
            None if lacking => (
                format!(
                    "Beside it {of} has sets that this user may not read: describe_backups with instance_id {of} lists them."
                ),
                None,
            ),
            // A safety backup most likely holds what the restore is to undo.
            None if !others.is_empty() => (
                format!(
                    "Beside it {of} has safety backups alone, taken before restores: describe_backups with instance_id {of} lists them."
                ),
                None,
            ),
            None => (
                format!(
                    "{of} has no other whole set: create_backup with instance_id {of} takes one of what it holds now."
                ),
                None,
            ),
        }
    }

    /// A clone in the place of a restore that its target cannot take, where one can be made here.
    async fn clone_instead(&self, of: &str) -> Option<Step> {
        let Act::RestoreInstance { source, .. } = &self.act else { return None };
        let (set, argument) = match source {
            Source::Backup { backup_id } => (backup_id.clone(), format!("backup_id {backup_id}")),
            Source::Moment { restore_time, .. } => {
                let (others, _) = self.other_sets(of).await.ok()?;
                // The set tells alone which server program it takes; the clone is of the moment.
                let any = last_backup(&others, Timestamp::now()).or(others.first())?;
                (any.id.clone(), format!("restore_time {}", written_ms(*restore_time)))
            }
            Source::Before { .. } => return None,
        };
        if !self.call.app.provider.can_clone(of, &set).await {
            return None;
        }
        let call = format!("create_instance_from_backup with instance_id {of} and {argument}");
        Some((format!("A clone here can hold it instead: {call}."), Some(call)))
    }

    /// What lets fewer writes through, or more be allowed.
    async fn less_traffic(&self) -> String {
        let app = self.call.app;
        let Some(limit) = self.rules.max_writes_per_second else { return "Stop the writers.".to_owned() };
        let file = app.config.file.as_ref().map_or_else(String::new, |file| format!(" in {}", file.display()));
        let operator = format!("or its operator raises max_writes_per_second = {limit} of [guard]{file}");
        let own = app.config.instance_ids().iter().any(|own| own == self.instance_id);
        let fenced = !own
            && app.config.tair.is_some()
            && matches!(self.act, Act::RestoreInstance { write_fence: false, .. })
            && match app.provider.capabilities(self.instance_id, &[Capability::WriteFence]).await {
                Ok(able) => able.need(&[Capability::WriteFence]).is_ok(),
                Err(_) => false,
            };
        let fence = if fenced { ", or make the same call with write_fence true, which lets none in" } else { "" };
        format!("Stop the writers{fence}, {operator}.")
    }
}
