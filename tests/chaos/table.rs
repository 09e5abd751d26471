//! How often each fault fired in each mode, and how often it had to, for people's eyes.

use super::report::{Fired, Report};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A line for each point, a column for each mode, `fired/expected` in each place where there is such a point.
pub(super) fn of(report: &Report) -> String {
    let columns: Vec<_> = match report.modes.len() {
        0 => vec![report],
        _ => report.modes.values().collect(),
    };
    let mut points = BTreeSet::new();
    for column in &columns {
        points.extend(fired(column).map(|(point, _)| point));
    }
    let mut table = format!("{:<20}", "fired/expected");
    // Writing to a string cannot fail.
    let cell = |table: &mut String, text: &str| write!(table, "{text:>8}").unwrap();
    columns.iter().for_each(|c| cell(&mut table, &c.mode));
    for point in points {
        write!(table, "\n{point:<20}").unwrap();
        for column in &columns {
            let found = fired(column).find(|(name, _)| *name == point);
            let text = found.map(|(_, f)| format!("{}/{}", f.fired, f.expected));
            cell(&mut table, text.as_deref().unwrap_or("-"));
        }
    }
    table + "\n"
}

fn fired(report: &Report) -> impl Iterator<Item = (String, Fired)> {
    let dealt = &report.dealt;
    let all = [
        (&dealt.faults_fired, ""),
        (&dealt.leaders_killed, " killed"),
        (&dealt.leaders_stopped, " stopped"),
    ];
    all.into_iter().flat_map(|(fired, what)| {
        let named = move |(name, fired): (&&str, &Fired)| (format!("{name}{what}"), *fired);
        fired.iter().map(named)
    })
}
