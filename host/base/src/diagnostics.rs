//! Mistakes in a file and warnings about it, collected and printed together.
//!
//! Several stages find mistakes. A policy that does not load and a folder that cannot be written
//! are mistakes in the same file as a misspelt key. So the values in `Config` carry their
//! [`Place`], and every stage adds to the same [`Diagnostics`].

use std::fmt;
use std::io::IsTerminal;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use crate::credentials;
use crate::text;

mod mask;
mod place;

pub use place::{Place, Source};

/// Width of a rendered report, in columns.
const WIDTH: usize = 100;

/// Maximum length of a message, in bytes. A guest may have written it.
const LONGEST: usize = 2000;

/// Error: a file has mistakes. Its report is meant to be printed as it is.
#[derive(Debug, thiserror::Error)]
#[error("{} has mistakes", .0.subject)]
pub struct Mistakes(pub Diagnostics);

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// The configuration must not be served.
    Mistake,
    /// The configuration can be served. A part of it is unused or has no effect.
    Warning,
}

/// A mistake or a warning.
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
    /// Replaces "here", the text that the report shows at the place.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = text::clean(&label.into(), LONGEST);
        self
    }

    /// Adds a second place in the same file that belongs to the finding.
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

/// All mistakes and warnings found so far. A file with a mistake must not be used;
/// [`Diagnostics::finish`] tells whether there is one.
#[derive(Debug)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    /// What the report calls the file: "the configuration".
    subject: &'static str,
}

impl Default for Diagnostics {
    fn default() -> Self {
        Self::of("the configuration")
    }
}

/// Warnings about a configuration without mistakes.
#[derive(Debug)]
#[must_use = "an operator wants to know them"]
pub struct Warnings(Diagnostics);

impl Warnings {
    /// Logs each warning.
    pub fn log(&self) {
        self.0.log();
    }

    /// The report; empty if there are no warnings.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        if self.0.found.is_empty() {
            return String::new();
        }
        self.0.render(look).to_string()
    }
}

/// Style of a printed report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// In colour, with box-drawing characters.
    Terminal,
    /// ASCII art and no colour, for logs and files.
    Plain,
}

impl Look {
    /// Style that suits a stream: plain if the stream is no terminal or `NO_COLOR` is set
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
    /// No findings yet about a file that the report calls `subject`.
    #[must_use]
    pub fn of(subject: &'static str) -> Self {
        Self {
            found: Vec::new(),
            subject,
        }
    }

    /// Adds a mistake. `message` says what is wrong and names the thing; `help` says what to do.
    /// Neither may hold a secret. Either may quote a guest or a file, because control characters
    /// are replaced.
    pub fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Mistake, place, &message.into(), &help.into())
    }

    /// Adds a warning, in the same form: something is unused or has no effect.
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
        self.found.push_mut(Diagnostic {
            severity,
            place: place.clone(),
            message: text::clean(&credentials::without_tokens(message), LONGEST),
            label: "here".to_owned(),
            help: text::clean(help, LONGEST),
            also: None,
        })
    }

    /// Adds the findings of another stage.
    pub fn append(&mut self, others: Self) {
        self.found.extend(others.found);
    }

    /// Whether there is no mistake.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of mistakes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count(Severity::Mistake)
    }

    fn count(&self, severity: Severity) -> usize {
        let counted = self.found.iter().filter(|found| found.severity == severity);
        counted.count()
    }

    /// The warnings, if there is no mistake.
    ///
    /// # Errors
    /// All findings, if there is a mistake.
    pub fn finish(self) -> Result<Warnings, Self> {
        if self.is_empty() {
            Ok(Warnings(self))
        } else {
            Err(self)
        }
    }

    /// Logs each finding, in the order of the file.
    pub fn log(&self) {
        for found in self.in_order() {
            let (place, help) = (&found.place, &found.help);
            match found.severity {
                Severity::Mistake => tracing::error!(?place, help, "{found}"),
                Severity::Warning => tracing::warn!(?place, help, "{found}"),
            }
        }
    }

    fn in_order(&self) -> Vec<&Diagnostic> {
        let mut found: Vec<_> = self.found.iter().collect();
        found.sort_by_key(|found| found.place.order());
        found
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
        for mistake in self.in_order() {
            let mut picture = String::new();
            match handler.render_report(&mut picture, mistake) {
                Ok(()) => {
                    for line in picture.lines() {
                        writeln!(f, "{}", line.trim_end())?;
                    }
                    writeln!(f)?;
                }
                // The renderer fails for a label outside of its file. The text must still be
                // printed.
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
        writeln!(f, "{} in {}", counts.join(" and "), self.subject)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Look::Plain)
    }
}

impl std::error::Error for Diagnostics {}
