//! Loading of a configuration from a file, or of the built-in one.

use std::path::Path;

use base::diagnostics::{Diagnostics, Place};
use base::files;
use base::files::text::{self, TextError};

use crate::settings::Config;

/// Built-in configuration, which is served without a file.
const DEFAULT: &str = include_str!("../../sluice.default.toml");

impl Config {
    /// Reads a configuration file, or the built-in configuration without one. The paths of the
    /// built-in one are relative to the current directory.
    ///
    /// Returns the configuration together with its mistakes, so that later stages can add theirs to
    /// the same report. It must not be served unless [`Diagnostics::finish`] succeeds.
    ///
    /// # Errors
    /// The report, if there is no configuration at all: the file cannot be read, or is not TOML.
    pub fn load(file: Option<&Path>) -> Result<(Self, Diagnostics), Diagnostics> {
        let Some(file) = file else {
            return Self::parse("the built-in configuration", DEFAULT, Path::new(""));
        };
        let name = file.display().to_string();
        let (bytes, content) = files::read(file);
        let text = bytes.map_err(TextError::from).and_then(|bytes| {
            let text = text::decode(bytes);
            text.map_err(TextError::from)
        });
        let text = text.map_err(|error| {
            let help = match &error {
                TextError::Encoding(_) => "a configuration is TOML, which is UTF-8",
                TextError::Io(_) => {
                    "correct the path after --config, or leave it out for the built-in configuration"
                }
            };
            let message = format!("the configuration file {name} cannot be read: {error}");
            let mut diagnostics = Diagnostics::default();
            diagnostics.error(&Place::nowhere(), message, help);
            diagnostics
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let (mut config, diagnostics) = Self::parse(&name, &text, folder)?;
        config.files.insert(file.to_owned(), Some(content));
        Ok((config, diagnostics))
    }

    /// [`Config::load`] for a text. Reports call it `name`, and its paths are relative to `folder`.
    ///
    /// # Errors
    /// The report, if the text is not TOML.
    pub fn parse(
        name: &str,
        text: &str,
        folder: &Path,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        crate::read::read(&crate::read::ConfigText {
            name,
            text,
            folder,
            environment: &|variable| std::env::var_os(variable),
        })
    }
}
