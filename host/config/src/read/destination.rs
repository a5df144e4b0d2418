//! `[destinations.NAME]`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Reader;
use super::names::report_missing;
use crate::toml::{Section, Spanned, Zero};
use base::files::Content;
use base::tls::client::{Authorities, Roots};
use policy::destinations::settings::{Destination, Method, OnUnanswered, Service};
use policy::destinations::template::{Template, TemplateError};
use policy::settings::Policy;

const METHODS: [(&str, Method); 2] = [("GET", Method::Get), ("POST", Method::Post)];

const ON_FAILURE: [(&str, OnUnanswered); 2] = [
    ("refuse", OnUnanswered::Refuse),
    ("answer", OnUnanswered::Answer),
];

/// Largest answer that a policy may be given, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

impl Reader<'_> {
    /// Reads the section of a destination.
    pub(super) fn destination(&mut self, mut section: Section<'_>) -> Option<Destination> {
        let place = section.place.clone();
        let help = "write `url = \"https://entitlements.example.com/v1/users/{user}\"`";
        let url = section.required("url", help);
        let template = url.as_ref().and_then(|url| self.address(url));
        let method = section.choice("method", &METHODS);
        let receiver = format!("destination `{}`", section.name);
        let headers = self.secret_headers(&mut section, &receiver);
        let ca = section.text("ca_file");
        let (authorities, authorities_content) = self.authorities(ca.as_ref());
        let timeout = section.duration("timeout", Duration::from_secs(1), Zero::Refused);
        let max_response = self.max_response(&mut section);
        let service = Service {
            url: template?,
            method: method.map_or(Method::Get, |method| method.value),
            headers: headers.unwrap_or_default(),
            authorities,
            authorities_content,
            timeout,
            max_response,
            max_waiting: section.count("max_waiting", 256, Zero::Refused),
            cache: section.duration("cache", Duration::ZERO, Zero::Allowed),
            cache_entries: section.count("cache_entries", 10_000, Zero::Refused),
            cache_size: section.memory("cache_size", 16 << 20),
            on_failure: section
                .choice("on_failure", &ON_FAILURE)
                .map_or(OnUnanswered::Refuse, |choice| choice.value),
            stale: section.duration("stale", Duration::ZERO, Zero::Allowed),
        };
        section.finish();
        self.check_way(&service, &url?, ca.as_ref());
        Some(Destination { service, place })
    }

    /// Has the options of destinations known where the file has none.
    pub(super) fn know_destinations(&mut self, root: &Section<'_>) {
        let mut section = root.none("destinations.NAME");
        section.text("url");
        for key in ["headers_file", "headers_env", "ca_file"] {
            section.text(key);
        }
        section.choice("method", &METHODS);
        section.choice("on_failure", &ON_FAILURE);
        for key in ["timeout", "cache", "stale"] {
            section.duration(key, Duration::ZERO, Zero::Allowed);
        }
        for key in ["max_response", "cache_size"] {
            section.memory(key, 1);
        }
        for key in ["max_waiting", "cache_entries"] {
            section.count(key, 1, Zero::Refused);
        }
    }

    fn address(&mut self, url: &Spanned<String>) -> Option<Template> {
        let error = match Template::parse(&url.value) {
            Ok(template) => return Some(template),
            Err(error) => error,
        };
        let help = match error {
            TemplateError::NotUrl | TemplateError::Fragment => {
                "write its scheme, host and path: \"https://entitlements.example.com/v1/users/{user}\""
            }
            TemplateError::User => "leave the user out, and send it in a header of `headers_file`",
            TemplateError::Outside => {
                "leave it out: the host is the operator's, and a policy adds query parameters itself"
            }
            TemplateError::Part(_) => "write the parameter between two slashes: /users/{user}/plan",
            TemplateError::Name(_) => "write a name: {user}",
            TemplateError::Dots => "write the path that is meant",
        };
        let message = format!("`url` cannot be used: {error}");
        self.error(&url.place, message, help).label("not usable");
        None
    }

    fn authorities(&mut self, ca: Option<&Spanned<String>>) -> (Authorities, Option<Content>) {
        let Some(named) = ca else {
            return (Authorities::Platform, None);
        };
        let (file, _) = self.read_file(&named.value);
        let content = self.files.get(&file).copied().flatten();
        let authorities = Authorities::File(file);
        if let Err(error) = Roots::read(&authorities) {
            let message = format!("the service's certificate cannot be verified: {error:#}");
            let help = "write the path of a PEM file with the authorities that sign it";
            self.error(&named.place, message, help);
        }
        (authorities, content)
    }

    fn max_response(&mut self, section: &mut Section<'_>) -> usize {
        let place = section.place_of("max_response");
        let size = section.memory("max_response", 16 << 10);
        if size > LARGEST_ANSWER {
            let message = "`max_response` is larger than 1MiB";
            let help = "write at most \"1MiB\": each answer is copied into a policy";
            self.error(&place, message, help).label("too large");
            return LARGEST_ANSWER;
        }
        size
    }

    /// Checks that nobody on the way can read the headers, and warns if anybody can change answers.
    fn check_way(
        &mut self,
        service: &Service,
        url: &Spanned<String>,
        ca: Option<&Spanned<String>>,
    ) {
        if url.value.starts_with("http:")
            && let Some(file) = ca
        {
            let message = "`ca_file` has no effect: `url` is not https";
            let help = "leave it out, or write https:// in `url`";
            self.warning(&file.place, message, help).label("no effect");
        }
        if service.url.has_safe_way() {
            return;
        }
        if service.headers.is_empty() {
            let message = "`url` is not https: on the way anybody can change the answers, and with \
                           them who is let in";
            let help = "write https:// if the service speaks it";
            self.warning(&url.place, message, help).label("not https");
        } else {
            let message = "the headers for `url` would be sent without TLS";
            let help = "write https:// in `url`, or leave the headers out";
            self.error(&url.place, message, help).label("not https");
        }
    }

    /// Reports destinations of policies that the file does not declare.
    pub(super) fn check_destinations_of(
        &mut self,
        declared: &BTreeSet<String>,
        policies: &BTreeMap<String, Policy>,
    ) {
        for policy in policies.values() {
            for name in &policy.destinations {
                if !declared.contains(name) {
                    report_missing(
                        name,
                        &policy.destinations_place,
                        ("destination", "destinations"),
                        declared,
                        &mut self.toml.diagnostics(),
                    );
                }
            }
        }
    }
}
