//! Tables for people.

use base::text;
use comfy_table::{ContentArrangement, Table, presets};

/// Maximum length of a cell, in bytes.
const MAX_CELL: usize = 512;

/// Maximum length of a value that has a line of its own, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// A name and its value.
pub(super) type Row = (&'static str, String);

/// A table with this head.
pub(super) fn table(head: &[&str]) -> Table {
    let mut table = bare();
    table.set_header(head.to_vec());
    table
}

fn bare() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A table of names and values, without those that are empty.
pub(super) fn list(rows: &[Row]) -> String {
    let mut table = bare();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), text::clean(value, MAX_VALUE)]);
    }
    render(&table)
}

/// The text of a table, without spaces around its lines.
pub(super) fn render(table: &Table) -> String {
    let lines = table.lines();
    lines.fold(String::new(), |text, line| text + line.trim() + "\n")
}

/// Text that does nothing to a terminal. Some of it comes from clients and policies.
pub(super) fn shown(value: &str) -> String {
    text::clean(value, MAX_CELL)
}

/// A value, or a dash.
pub(super) fn or_dash(value: Option<&str>) -> String {
    value.map_or_else(|| "-".to_owned(), shown)
}

/// A time in milliseconds, in the unit that people use for it.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number of bytes, in the unit that people use for it.
pub(super) fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_unit_that_people_use() {
        for (ms, expected) in [
            (999, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (3_660_000, "1 h 1 min"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn a_cell_does_nothing_to_a_terminal_and_a_line_has_no_end_of_spaces() {
        let text = list(&[
            ("told", "a\u{1b}[31m\nb".to_owned()),
            ("none", String::new()),
        ]);
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(
            !text.contains('\u{1b}') && !text.contains(" \n"),
            "{text:?}"
        );
    }
}
