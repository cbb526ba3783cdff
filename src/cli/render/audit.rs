//! The guard's records for people: a line each, and what happened below it where there is no room beside.

use super::screen::Screen;
use super::tables::Column;

/// Renders records: when, event, instance, plan, detail.
#[must_use]
pub fn records(screen: &Screen, rows: impl IntoIterator<Item = [String; 5]>) -> String {
    let head = [
        Column::new("AT"),
        Column::new("EVENT"),
        Column::new("INSTANCE"),
        Column::new("PLAN").less(1),
        Column::sentence("DETAIL"),
    ];
    screen.table(head, rows)
}
