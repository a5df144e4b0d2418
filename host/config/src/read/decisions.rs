//! `[decisions]`

use super::Reader;
use super::quantity::Zero;
use super::section::Section;
use base::diagnostics::Place;
use policy::settings::Decisions;

impl Reader<'_> {
    /// Reads `[decisions]`.
    pub(super) fn decisions(&mut self, section: Option<Section<'_>>) -> Decisions {
        let place = Place::nowhere();
        let mut section =
            section.unwrap_or_else(|| Section::empty("decisions", "[decisions]", place));
        let place = section.place.clone();
        let file = section.text(self, "file");
        let decisions = Decisions {
            file: file.map(|file| file.value.into()),
            max_size: section.size(self, "max_size", 64 << 20),
            max_files: section.count(self, "max_files", 8, Zero::Refused),
        };
        section.finish(self);
        self.check_decisions(&place, &decisions);
        decisions
    }
}
