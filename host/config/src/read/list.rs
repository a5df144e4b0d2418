//! `[lists.NAME]`

use super::Reader;
use crate::toml::{Section, Spanned};
use policy::settings::{List, ListFormat};

const FORMATS: [(&str, ListFormat); 2] = [("lines", ListFormat::Lines), ("json", ListFormat::Json)];

impl Reader<'_> {
    /// Reads a list's section. Its file is read by those who use it.
    pub(super) fn list(&mut self, mut section: Section<'_>) -> Option<List> {
        let place = section.place.clone();
        let help = "write `file = \"tenants.txt\"`: one entry on each line, or JSON";
        section.demand("file", help);
        let (file, format) = options(&mut section);
        section.finish();
        let Spanned {
            value,
            place: file_place,
        } = file?;
        let path = self.file(&value);
        let ending = path.extension().and_then(|ending| ending.to_str());
        let by_ending = match ending {
            Some("txt") => Some(ListFormat::Lines),
            Some("json") => Some(ListFormat::Json),
            _ => None,
        };
        let format = format.map(|format| format.value).or(by_ending);
        if format.is_none() {
            let message = format!("the format of \"{value}\" does not show in its name");
            let help =
                "write `format = \"lines\"` or `format = \"json\"`, or call it .txt or .json";
            self.error(&file_place, message, help)
                .label("which format?");
        }
        Some(List {
            file: path,
            format: format?,
            place,
        })
    }
}

/// Takes the options of a list.
fn options(section: &mut Section<'_>) -> (Option<Spanned<String>>, Option<Spanned<ListFormat>>) {
    (section.text("file"), section.choice("format", &FORMATS))
}

/// Has the options of lists known where the file has no list.
pub(super) fn known(root: &Section<'_>) {
    options(&mut root.none("lists.NAME"));
}
