//! From a file, or from what is built in, to a configuration.

use std::path::Path;

use base::diagnostics::{Diagnostics, Place};
use base::files;
use base::files::text::{self, TextError};

use crate::settings::Config;

/// What is served without a configuration file.
const DEFAULT: &str = include_str!("../../sluice.default.toml");

impl Config {
    /// Reads a configuration file; the built-in configuration without one,
    /// whose paths are relative to the current directory.
    ///
    /// The configuration comes with the mistakes that were found, so that
    /// later stages can add theirs to the same report. It must not be served
    /// unless [`Diagnostics::finish`] says so.
    ///
    /// # Errors
    /// The report, when there is nothing to go on with: the file cannot be
    /// read, or it is not TOML.
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

    /// [`Config::load`], of text. `name` is what reports call it, and `folder`
    /// what its paths are relative to.
    ///
    /// # Errors
    /// The report, when the text is not TOML.
    pub fn parse(
        name: &str,
        text: &str,
        folder: &Path,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        crate::read::read(&crate::read::Origin {
            name,
            text,
            folder,
            environment: &|variable| std::env::var_os(variable),
        })
    }
}
