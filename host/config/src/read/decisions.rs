//! `[decisions]`

use super::Reader;
use crate::toml::{Section, Zero};
use base::diagnostics::Place;
use policy::settings::Decisions;

impl Reader<'_> {
    /// Reads `[decisions]`.
    pub(super) fn decisions(&mut self, section: Option<Section<'_>>) -> Decisions {
        let place = Place::nowhere();
        let mut section =
            section.unwrap_or_else(|| Section::empty("decisions", "[decisions]", place));
        let place = section.place.clone();
        let file = section.text(&mut self.toml, "file");
        let decisions = Decisions {
            file: file.map(|file| file.value.into()),
            max_size: section.size(&mut self.toml, "max_size", 64 << 20),
            max_files: section.count(&mut self.toml, "max_files", 8, Zero::Refused),
        };
        section.finish(&mut self.toml);
        self.check_decisions(&place, &decisions);
        decisions
    }
}
