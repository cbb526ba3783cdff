//! The guard's records for people: a line each, and what happened below it where there is no room beside.

use super::screen::Screen;
use super::tables::Column;

/// Renders records: when, event, instance, for whom, plan, detail, of which a screen has the beginning.
#[must_use]
pub fn records(screen: &Screen, rows: impl IntoIterator<Item = [String; 6]>) -> String {
    let head = [
        Column::new("AT"),
        Column::new("EVENT"),
        Column::new("INSTANCE"),
        Column::new("CALLER").less(1),
        Column::new("PLAN").less(2),
        Column::sentence("DETAIL"),
    ];
    let brief = |[at, event, instance_id, caller, plan, detail]: [String; 6]| {
        [at, event, instance_id, caller, plan, screen.brief(&detail)]
    };
    screen.table(head, rows.into_iter().map(brief))
}
