//! Headers of the gateway's own requests, which are secrets: `headers_file` and `headers_env`.

use axum::http::{HeaderName, HeaderValue};

use super::Reader;
use crate::toml::Section;
use base::files::text::{self, TextError};
use base::secret::Secret;

/// Headers that the request has anyway.
const OURS: [&str; 3] = ["host", "content-type", "content-length"];

impl Reader<'_> {
    /// Headers, one a line, from a file of their own or from an environment variable. `receiver` is
    /// who gets them.
    pub(super) fn secret_headers(
        &mut self,
        section: &mut Section<'_>,
        receiver: &str,
    ) -> Option<Vec<(String, Secret)>> {
        let from_file = section.text("headers_file");
        let from_variable = section.text("headers_env");
        let (named, bytes) = match (from_file, from_variable) {
            (Some(named), None) => {
                let (_, bytes) = self.read_file(&named.value);
                (named, bytes.map_err(TextError::from))
            }
            (None, Some(named)) => {
                let value = self.variable(&named, "headers_file")?;
                (named, Ok(value))
            }
            (Some(_), Some(named)) => {
                let message =
                    "`headers_file` and `headers_env` are two sources of the same headers";
                self.error(&named.place, message, "keep one of the two")
                    .label("the second source");
                return None;
            }
            (None, None) => return None,
        };
        let read = bytes.and_then(|bytes| Ok(text::decode(bytes)?));
        let headers = match &read {
            Ok(text) => lines(text),
            Err(error) => Err(error.to_string()),
        };
        match headers {
            Ok(headers) => Some(headers),
            Err(why) => {
                let message = format!("the headers for {receiver} cannot be used: {why}");
                let help = "write one a line: Authorization: Bearer …";
                self.error(&named.place, message, help).label("no headers");
                None
            }
        }
    }
}

/// Headers of a text. An error quotes no value.
fn lines(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut headers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = number + 1;
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("line {number} has no colon"))?;
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim();
        let fits = HeaderName::try_from(&*name).is_ok() && HeaderValue::from_str(value).is_ok();
        if !fits || value.is_empty() || OURS.contains(&&*name) {
            return Err(format!("line {number} is no header that can be sent"));
        }
        headers.push((name, Secret::new(value)));
    }
    if headers.is_empty() {
        return Err("there are none".to_owned());
    }
    Ok(headers)
}
