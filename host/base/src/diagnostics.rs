//! Mistakes in the configuration, and warnings about it, collected and printed together.
//!
//! Reading the file is only the first stage that finds mistakes. A policy that
//! does not load and a folder that cannot be written are mistakes in the same
//! file, so the values in [`Config`](config::Config) carry their [`Place`], and
//! every stage adds to the same [`Diagnostics`].

use std::fmt;
use std::io::IsTerminal;
use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

mod mask;

use crate::text;

/// Columns of a rendered report.
const WIDTH: usize = 100;

/// Bytes of the longest message, which may be a guest's.
const LONGEST: usize = 2000;

/// A stretch of a configuration file. Cheap to clone.
#[derive(Clone, Default)]
pub struct Place {
    source: Option<Arc<Source>>,
    span: Range<usize>,
}

/// A configuration file as it may be shown: everything that may be a secret is
/// masked.
#[derive(Debug)]
pub struct Source {
    name: String,
    shown: NamedSource<String>,
}

impl Source {
    /// A file, by the name that its mistakes are reported under, and its text.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            shown: NamedSource::new(name, mask::mask(text)),
        })
    }
}

impl Place {
    /// A place in a file, in bytes.
    #[must_use]
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        // The parser names the end of the file by a span that lies behind it.
        let end = source.shown.inner().len();
        let span = span.start.min(end)..span.end.min(end);
        Self {
            source: Some(Arc::clone(source)),
            span,
        }
    }

    /// The place of a value that no file holds: it was made in code, or it is
    /// about a file that cannot be read.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// The place of a part of a text, which stands here. Where it is not written as it reads, as
    /// with escapes, the whole text.
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

    /// The place in its file, in bytes.
    #[must_use]
    pub fn span(&self) -> &Range<usize> {
        &self.span
    }

    fn is_known(&self) -> bool {
        self.source.is_some()
    }

    fn order(&self) -> (Option<&str>, usize) {
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

/// A configuration with mistakes; the report is meant to be printed as it is.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has mistakes")]
pub struct Mistakes(pub Diagnostics);

/// What a finding means for the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// It must not be served.
    Mistake,
    /// It can be served, and a part of it is not used or has no effect.
    Warning,
}

/// One mistake or warning.
#[derive(Debug)]
pub struct Diagnostic {
    severity: Severity,
    place: Place,
    message: String,
    label: String,
    help: String,
    also: Option<(Place, String)>,
}

impl Diagnostic {
    /// What stands at the place itself, instead of "here".
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = text::clean(&label.into(), LONGEST);
        self
    }

    /// A second place in the same file that has to do with the mistake.
    pub fn also(&mut self, place: &Place, label: impl Into<String>) -> &mut Self {
        self.also = Some((place.clone(), text::clean(&label.into(), LONGEST)));
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Mistake => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let source = self.place.source.as_deref()?;
        Some(&source.shown)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if !self.place.is_known() {
            return None;
        }
        let here =
            LabeledSpan::new_primary_with_span(Some(self.label.clone()), self.place.span.clone());
        let also = self.also.iter().map(|(place, label)| {
            LabeledSpan::new_with_span(Some(label.clone()), place.span.clone())
        });
        Some(Box::new(std::iter::once(here).chain(also)))
    }
}

/// Every mistake and warning that was found so far. Nothing may be served while there is a mistake;
/// [`Diagnostics::finish`] is how a caller finds out.
#[derive(Debug, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

/// The warnings about a configuration without mistakes.
#[derive(Debug)]
#[must_use = "an operator wants to know them"]
pub struct Warnings(Diagnostics);

impl Warnings {
    /// Writes each of them to the log.
    pub fn log(&self) {
        for warning in &self.0.0 {
            let (place, help) = (&warning.place, &warning.help);
            tracing::warn!(?place, help, "{warning}");
        }
    }

    /// The report; empty where there are none.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        if self.0.0.is_empty() {
            return String::new();
        }
        self.0.render(look).to_string()
    }
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// In colour, with box-drawing characters.
    Terminal,
    /// ASCII art and no colour, for logs and files.
    Plain,
}

impl Look {
    /// The look that suits a stream; plain where `NO_COLOR` is set
    /// (<https://no-color.org>).
    #[must_use]
    pub fn of(stream: &impl IsTerminal) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stream.is_terminal() && !no_color {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

impl Diagnostics {
    /// Adds a mistake. `message` says what is wrong and names the thing; `help`
    /// says what to do. Neither may hold a secret. Either may quote a guest or
    /// a file: control characters do not get through to the terminal.
    pub fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Mistake, place, &message.into(), &help.into())
    }

    /// Adds a warning, of the same form: something is not used, or has no effect.
    pub fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Warning, place, &message.into(), &help.into())
    }

    fn add(
        &mut self,
        severity: Severity,
        place: &Place,
        message: &str,
        help: &str,
    ) -> &mut Diagnostic {
        self.0.push_mut(Diagnostic {
            severity,
            place: place.clone(),
            message: text::clean(message, LONGEST),
            label: "here".to_owned(),
            help: text::clean(help, LONGEST),
            also: None,
        })
    }

    /// Adds what somebody else has found.
    pub fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether no mistake was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many mistakes were found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count(Severity::Mistake)
    }

    fn count(&self, severity: Severity) -> usize {
        let counted = self.0.iter().filter(|found| found.severity == severity);
        counted.count()
    }

    /// The warnings, when there is no mistake.
    ///
    /// # Errors
    /// Itself, when there is one.
    pub fn finish(self) -> Result<Warnings, Self> {
        if self.is_empty() {
            Ok(Warnings(self))
        } else {
            Err(self)
        }
    }

    /// The whole report, in the order of the file.
    #[must_use]
    pub fn render(&self, look: Look) -> impl fmt::Display {
        fmt::from_fn(move |f| self.write(f, look))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, look: Look) -> fmt::Result {
        let theme = match look {
            Look::Terminal => GraphicalTheme::unicode(),
            Look::Plain => GraphicalTheme::none(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(WIDTH)
            .with_links(false);
        let mut mistakes: Vec<_> = self.0.iter().collect();
        mistakes.sort_by_key(|mistake| mistake.place.order());
        for mistake in &mistakes {
            let mut picture = String::new();
            match handler.render_report(&mut picture, *mistake) {
                Ok(()) => {
                    for line in picture.lines() {
                        writeln!(f, "{}", line.trim_end())?;
                    }
                    writeln!(f)?;
                }
                // A label that is not in its file cannot be drawn. The words
                // must not be lost with the picture.
                Err(fmt::Error) => writeln!(f, "{mistake}\n  help: {}\n", mistake.help)?,
            }
        }
        let counted = |severity, one: &str, many: &str| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let counts: Vec<String> = [
            counted(Severity::Mistake, "mistake", "mistakes"),
            counted(Severity::Warning, "warning", "warnings"),
        ]
        .into_iter()
        .flatten()
        .collect();
        writeln!(f, "{} in the configuration", counts.join(" and "))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Look::Plain)
    }
}

impl std::error::Error for Diagnostics {}
