//! Positions in configuration files.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::NamedSource;

/// Position in a configuration file. Cheap to clone.
#[derive(Clone, Default)]
pub struct Place {
    pub(super) source: Option<Arc<Source>>,
    pub(super) span: Range<usize>,
}

/// Configuration file as a report may show it: everything that may be a secret is masked.
#[derive(Debug)]
pub struct Source {
    name: String,
    pub(super) shown: NamedSource<String>,
}

impl Source {
    /// Source with the name that reports give to the file, and the file's text.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            shown: NamedSource::new(name, super::mask::mask(text)),
        })
    }
}

impl Place {
    /// Position in a file, in bytes.
    #[must_use]
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        // The parser reports the end of the file as a span behind it.
        let end = source.shown.inner().len();
        let span = span.start.min(end)..span.end.min(end);
        Self {
            source: Some(Arc::clone(source)),
            span,
        }
    }

    /// Position of a value that is in no file: it was made in code, or its file cannot be read.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// Position of a part of the text at this place. It is the place of the whole text if the file
    /// writes the text in another way, as with escapes.
    pub fn part(&self, text: &str, part: Range<usize>) -> Self {
        let quotes = self.span.len().saturating_sub(text.len());
        let is_verbatim = quotes == 0 || quotes == 2;
        let start = self.span.start + quotes / 2;
        let span = start + part.start..start + part.end;
        if !is_verbatim || span.end > self.span.end {
            return self.clone();
        }
        Self {
            source: self.source.clone(),
            span,
        }
    }

    /// The first line of this place, for what reaches over many.
    #[must_use]
    pub fn first_line(mut self) -> Self {
        let file = self.source.as_ref().map(|source| source.shown.inner());
        let text = file.and_then(|file| file.get(self.span.clone()));
        if let Some(line) = text.and_then(|text| text.lines().next()) {
            self.span.end = self.span.start + line.trim_end().len();
        }
        self
    }

    /// Position in its file, in bytes.
    #[must_use]
    pub fn span(&self) -> &Range<usize> {
        &self.span
    }

    pub(super) fn is_known(&self) -> bool {
        self.source.is_some()
    }

    /// Key by which findings are sorted: file, then offset in bytes.
    pub(super) fn order(&self) -> (Option<&str>, usize) {
        (
            self.source.as_ref().map(|s| s.name.as_str()),
            self.span.start,
        )
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(source) = &self.source else {
            return f.write_str("nowhere");
        };
        let before = source.shown.inner().get(..self.span.start);
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        write!(f, "{}:{line}", source.name)
    }
}
