//! Files of the page.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

/// What the page may do: use its own files, and ask the listener that it came from. It has no
/// inline script and no inline style, and no other page can frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Headers of every file, beside those of every answer of the listener.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    // Another version of the gateway has other files.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its path below `/console/`; empty for the page itself.
    pub(super) name: &'static str,
    kind: &'static str,
    content: &'static str,
}

/// Every file.
pub(super) const FILES: [File; 21] = [
    File::new("", HTML, include_str!("../../console/index.html")),
    File::new(
        "console.css",
        CSS,
        include_str!("../../console/console.css"),
    ),
    File::new("icon.svg", SVG, include_str!("../../console/icon.svg")),
    File::new("main.js", SCRIPT, include_str!("../../console/main.js")),
    File::new("dom.js", SCRIPT, include_str!("../../console/dom.js")),
    File::new("feed.js", SCRIPT, include_str!("../../console/feed.js")),
    File::new("format.js", SCRIPT, include_str!("../../console/format.js")),
    File::new(
        "operator.js",
        SCRIPT,
        include_str!("../../console/operator.js"),
    ),
    File::new(
        "sessions.js",
        SCRIPT,
        include_str!("../../console/sessions.js"),
    ),
    File::new(
        "session.js",
        SCRIPT,
        include_str!("../../console/session.js"),
    ),
    File::new(
        "refusals.js",
        SCRIPT,
        include_str!("../../console/refusals.js"),
    ),
    File::new(
        "metrics.js",
        SCRIPT,
        include_str!("../../console/metrics.js"),
    ),
    File::new("wave.js", SCRIPT, include_str!("../../console/wave.js")),
    File::new(
        "policies.js",
        SCRIPT,
        include_str!("../../console/policies.js"),
    ),
    File::new(
        "upstreams.js",
        SCRIPT,
        include_str!("../../console/upstreams.js"),
    ),
    File::new(
        "generations.js",
        SCRIPT,
        include_str!("../../console/generations.js"),
    ),
    File::new("health.js", SCRIPT, include_str!("../../console/health.js")),
    File::new(
        "recordings.js",
        SCRIPT,
        include_str!("../../console/recordings.js"),
    ),
    File::new("wav.js", SCRIPT, include_str!("../../console/wav.js")),
    File::new("trial.js", SCRIPT, include_str!("../../console/trial.js")),
    File::new(
        "microphone.js",
        SCRIPT,
        include_str!("../../console/microphone.js"),
    ),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

impl File {
    const fn new(name: &'static str, kind: &'static str, content: &'static str) -> Self {
        Self {
            name,
            kind,
            content,
        }
    }

    pub(super) fn answer(&self) -> Response {
        let kind = [(header::CONTENT_TYPE, self.kind)];
        (HEADERS, kind, self.content).into_response()
    }
}
