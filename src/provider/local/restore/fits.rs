//! Whether a target can take a moment that was built for it: its plan knew no more of it than the set that it begins with.
//!
//! It must not change anything: what is refused here has cost a yes, and no data.

use crate::guard::facts::rights::{Right, rules};
use crate::guard::plan::{Plan, changed};
use crate::guard::room::{fits_beside, need};
use crate::model::fault::Fault;
use crate::model::key_filter::SomeKeys;
use crate::model::restore::Method;
use crate::model::text::bytes;
use crate::provider::local::restore::built::Built;
use crate::provider::local::restore::steps::{needs, unpacked};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::limits;
use crate::redis::rights::{self, Probing};

impl Inner {
    /// That the target can take what was built.
    ///
    /// # Errors
    /// `plan.changed` where it cannot; those of the connection.
    pub(super) async fn fits(&self, plan: &Plan, built: &Built) -> Result<(), Fault> {
        let method = plan.direct_restore()?.method;
        // Types that the modules of another instance wrote do not tell which modules the target has.
        let own = plan.act.set_of(&plan.instance_id) == plan.instance_id;
        let mut conn = Conn::open(&self.endpoint(&plan.instance_id).await?, COMMAND_TIMEOUT).await?;
        let target = ServerFacts::read(&mut conn).await?;
        let limits = limits::read(&mut conn).await?;
        let set = &built.set;
        let needed = match plan.act.keys() {
            Some(keys) => self.cannot_take_built(keys, set, own, built.contents(), &target, limits, &mut conn).await?,
            None => {
                let statistics = &built.statistics;
                let refused =
                    self.cannot_load(set, own, statistics, &target, method, limits, Some(built), &mut conn).await?;
                match refused {
                    Some(why) => Err(why),
                    None => {
                        let unpacked = unpacked(built.contents(), statistics, &target, limits).await?;
                        Ok(need(set.used_memory, set.rdb_bytes, unpacked))
                    }
                }
            }
        };
        let lacks = match needed {
            Err(why) => Some(why),
            Ok(need) => match lacks_room(method, need, &target) {
                None => self.lacks_right(plan, built, &target, &mut conn).await?,
                room => room,
            },
        };
        let Some(why) = lacks else { return Ok(()) };
        Err(changed(format!("the target was not touched, for it cannot take the moment: {why}"))
            .hint("Give the target what it lacks, then make a new plan; or restore another moment."))
    }

    /// The steps that its user may not take, or the server refuses now: function libraries, say, may have come with the log.
    async fn lacks_right(
        &self,
        plan: &Plan,
        built: &Built,
        target: &ServerFacts,
        conn: &mut Conn,
    ) -> Result<Option<String>, Fault> {
        let method = plan.direct_restore()?.method;
        let removes = plan.act.keys().is_some_and(SomeKeys::removes);
        let user = self.user(&plan.instance_id, conn).await?;
        // What the server would count as a write would void the plan.
        let asked = rights::ask(conn, &user, &needs(method, removes, &built.set, target), Probing::Uncounted).await?;
        let lacking = rules(&asked.steps, |right| !matches!(right, Right::Granted | Right::Unknown));
        let lacking = lacking.join(" ");
        Ok((!lacking.is_empty())
            .then(|| format!("its user may not do what it takes, or the server refuses it: {lacking}")))
    }
}

/// Why there is no room for what needs so much; `None` where there is, as far as figures can tell.
fn lacks_room(method: Method, need: u64, target: &ServerFacts) -> Option<String> {
    let free =
        (target.total_system_memory > 0).then(|| target.total_system_memory.saturating_sub(target.used_memory_rss));
    let (beside, free) = match method {
        Method::Beside | Method::Replication => (target.used_memory, free),
        // What is there goes first.
        Method::Commands => (0, None),
        // How much of what is there they take the place of is not known.
        Method::Keys => (0, free),
    };
    if fits_beside(need, beside, target.maxmemory, free) {
        return None;
    }
    let holds = if beside > 0 { format!(" beside the {} that it holds", bytes(beside)) } else { String::new() };
    let limits = [
        (target.maxmemory > 0).then(|| format!("maxmemory is {}", bytes(target.maxmemory))),
        free.map(|free| format!("about {} is free", bytes(free))),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    Some(format!("it needs about {}{holds}; {}", bytes(need), limits.join(", ")))
}

#[cfg(test)]
mod tests {
    //! Each way is judged by what is there while it goes.
    use super::lacks_room;
    use crate::model::restore::Method;
    use crate::redis::facts::ServerFacts;

    #[test]
    fn each_way_needs_its_room() {
        let info = "maxmemory:100\r\nused_memory:60\r\ntotal_system_memory:1000\r\nused_memory_rss:920\r\n";
        let target = ServerFacts::from_info(info);
        for (method, most) in [(Method::Commands, 100), (Method::Beside, 40), (Method::Keys, 80)] {
            assert_eq!(lacks_room(method, most, &target), None, "{method:?}");
            assert!(lacks_room(method, most + 1, &target).is_some(), "{method:?}");
        }
        let told = lacks_room(Method::Beside, 41, &target).unwrap();
        assert_eq!(told, "it needs about 41 B beside the 60 B that it holds; maxmemory is 100 B, about 80 B is free");
    }
}
