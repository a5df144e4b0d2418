//! `[traces]`

use std::net::IpAddr;

use axum::http::Uri;

use super::Reader;
use crate::toml::{Section, Spanned};
use base::diagnostics::Place;
use traces::settings::Traces;

impl Reader<'_> {
    /// Reads `[traces]`. Without an endpoint nothing is traced.
    pub(super) fn traces(&mut self, mut section: Section<'_>) -> Option<Traces> {
        let place = section.place.clone();
        let named = section.text("endpoint");
        let endpoint = named.as_ref().and_then(|named| self.endpoint(named));
        let ca = section.text("ca_file");
        let headers = self.secret_headers(&mut section, "the trace collector");
        let service_name = section.text("service_name");
        let traces = Traces {
            endpoint: endpoint.unwrap_or_default(),
            ca_file: ca.as_ref().map(|file| self.file(&file.value)),
            sample_ratio: section.ratio("sample_ratio", 1.0),
            continue_clients: section.truth("continue_clients") != Some(false),
            service_name: service_name.map_or_else(|| "sluice".to_owned(), |name| name.value),
            attributes: self.resource_attributes(&mut section),
            headers: headers.unwrap_or_default(),
        };
        section.finish();
        let Some(named) = named else {
            self.check_traces(&place, &traces);
            return None;
        };
        let is_plain = traces.endpoint.starts_with("http:");
        if is_plain && let Some(file) = &ca {
            let help = "leave it out, or write https:// in `endpoint`";
            let message = "`ca_file` has no effect: `endpoint` is not https";
            self.warning(&file.place, message, help).label("no effect");
        }
        if is_plain && !traces.headers.is_empty() && !is_loopback(&traces.endpoint) {
            let message = "the headers for `endpoint` would be sent without TLS";
            let help = "write https:// in `endpoint`, or leave the headers out";
            self.error(&named.place, message, help).label("not https");
        }
        Some(traces)
    }

    fn endpoint(&mut self, named: &Spanned<String>) -> Option<String> {
        let url = named.value.parse::<Uri>().ok();
        let fits = url.as_ref().is_some_and(|url| {
            let scheme = url.scheme_str();
            let has_host = url
                .authority()
                .is_some_and(|host| !host.as_str().contains('@'));
            has_host && matches!(scheme, Some("http" | "https")) && url.path() != "/"
        });
        if fits {
            return Some(named.value.clone());
        }
        // It is not quoted: it may have a password in it.
        let message = "`endpoint` is not the URL of a trace collector";
        let help = "write a URL with its path and without a user: \
                    \"http://127.0.0.1:4318/v1/traces\"";
        self.error(&named.place, message, help).label("no such URL");
        None
    }

    fn resource_attributes(&mut self, section: &mut Section<'_>) -> Vec<(String, String)> {
        let mut attributes = Vec::new();
        for text in section.distinct("attributes") {
            match text.value.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    attributes.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                _ => {
                    let message = format!("\"{}\" is not an attribute", text.value);
                    let help =
                        "write a name and a value: \"deployment.environment.name=production\"";
                    self.error(&text.place, message, help).label("no `=`");
                }
            }
        }
        attributes
    }

    fn check_traces(&mut self, place: &Place, traces: &Traces) {
        let usual = Traces {
            endpoint: String::new(),
            headers: Vec::new(),
            ca_file: None,
            sample_ratio: 1.0,
            continue_clients: true,
            service_name: "sluice".to_owned(),
            attributes: Vec::new(),
        };
        if *traces != usual {
            let message = "[traces] exports nothing: it names no `endpoint`";
            let help = "write `endpoint = \"http://127.0.0.1:4318/v1/traces\"`, \
                        or leave the section out";
            self.warning(place, message, help).label("no effect");
        }
    }
}

fn is_loopback(url: &str) -> bool {
    let url = url.parse::<Uri>().ok();
    let host = url.as_ref().and_then(|url| url.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
