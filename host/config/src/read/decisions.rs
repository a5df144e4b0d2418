//! `[decisions]`

use super::Reader;
use crate::toml::{Section, Zero};
use policy::settings::Decisions;

impl Reader<'_> {
    /// Reads `[decisions]`.
    pub(super) fn decisions(&mut self, mut section: Section<'_>) -> Decisions {
        let place = section.place.clone();
        let file = section.text("file");
        let decisions = Decisions {
            file: file.map(|file| file.value.into()),
            max_size: section.size("max_size", 64 << 20),
            max_files: section.count("max_files", 8, Zero::Refused),
        };
        section.finish();
        self.check_decisions(&place, &decisions);
        decisions
    }
}
