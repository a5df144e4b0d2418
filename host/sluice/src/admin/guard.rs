//! Protection of the admin listener: against web pages, and of what changes something.
//!
//! A page whose host name resolves to this machine can read everything from its own origin (DNS
//! rebinding). Its browser still sends that name in `Host`.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Version, header};

use base::secret::Secret;

/// Header that browsers set on every request (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Host names under which the listener answers, and the token of those who may change something.
#[derive(Debug, Clone)]
pub struct Guard {
    address: IpAddr,
    hosts: Vec<String>,
    token: Option<Secret>,
}

/// Path of the one change that needs no token where none is configured.
pub(super) const RELOAD: &str = "/reload";

/// Answer to a refused request.
type Refusal = (StatusCode, &'static str);

impl Guard {
    /// Guard of a listener with this address and these names.
    #[must_use]
    pub fn new(address: SocketAddr, hosts: &[String], token: Option<Secret>) -> Self {
        Self {
            address: address.ip().to_canonical(),
            hosts: hosts.to_vec(),
            token,
        }
    }

    /// Refuses requests that a web page could have made.
    ///
    /// # Errors
    /// The answer to the refused request.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            // HTTP/1.0 alone has no `Host`, and no browser speaks it.
            (None, _) if request.version() == Version::HTTP_10 => Some("localhost"),
            _ => None,
        };
        let host: Option<Authority> = host.and_then(|host| host.parse().ok());
        let Some(host) = host else {
            let sentence = "the request must have one Host header\n";
            return Err((StatusCode::BAD_REQUEST, sentence));
        };
        // An absolute target takes precedence over the header (RFC 9112, section 3.2.2).
        let named = request.uri().authority().unwrap_or(&host);
        if ![named, &host].iter().all(|host| self.is_ours(host.host())) {
            let sentence = "the admin listener is not called by this name: ask for localhost or its address, or \
                            add the name to admin_hosts in [server]\n";
            return Err((StatusCode::MISDIRECTED_REQUEST, sentence));
        }
        if changes(request.method()) && is_of_a_page(headers) {
            return Err((StatusCode::FORBIDDEN, "a web page may not ask for this\n"));
        }
        Ok(())
    }

    /// Refuses changes by those who do not send the token. Where none is configured, nobody may
    /// change anything but reload the configuration.
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub(crate) fn check_change(&self, request: &Request) -> Result<(), Refusal> {
        if !changes(request.method()) {
            return Ok(());
        }
        let Some(token) = &self.token else {
            if request.uri().path() == RELOAD {
                return Ok(());
            }
            let sentence =
                "nobody may do this: set admin_token_file in [server], and send its token\n";
            return Err((StatusCode::FORBIDDEN, sentence));
        };
        let sent = request.headers().get(header::AUTHORIZATION);
        let sent = sent.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match sent.map(|sent| verify_slices_are_equal(sent, token.expose())) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => {
                let sentence = "send the token of admin_token_file: Authorization: Bearer TOKEN\n";
                Err((StatusCode::UNAUTHORIZED, sentence))
            }
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            if address.is_loopback() || address == self.address {
                return true;
            }
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut hosts = self.hosts.iter().map(String::as_str).chain(["localhost"]);
        hosts.any(|ours| ours.eq_ignore_ascii_case(host))
    }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a page makes the request on behalf of its viewer (RFC 6454, section 7).
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE);
    headers.contains_key(header::ORIGIN) || site.is_some_and(|site| site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn status(request: &str) -> u16 {
        status_with(None, request)
    }

    fn status_with(token: Option<&str>, request: &str) -> u16 {
        let guard = Guard::new(
            "127.0.0.1:9180".parse().unwrap(),
            &["metrics.internal".to_owned(), "10.0.0.7".to_owned()],
            token.map(Secret::new),
        );
        let mut parts = request.split("; ");
        let mut line = parts.next().unwrap().split(' ');
        let mut builder = Request::builder()
            .method(line.next().unwrap())
            .uri(line.next().unwrap())
            .version(match line.next() {
                Some("1.0") => Version::HTTP_10,
                _ => Version::HTTP_11,
            });
        for field in parts {
            let (name, value) = field.split_once(": ").unwrap();
            builder = builder.header(name, value);
        }
        let request = builder.body(Body::empty()).unwrap();
        let checked = guard.check(&request);
        let checked = checked.and_then(|()| guard.check_change(&request));
        checked.err().map_or(200, |(status, _)| status.as_u16())
    }

    #[test]
    fn only_names_of_this_machine_and_those_that_are_configured_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:9180",
            "localhost.",
            "127.0.0.1:9180",
            "127.0.0.53",
            "[::1]:9180",
            "[::ffff:127.0.0.1]",
            "metrics.internal:80",
            "10.0.0.7",
        ] {
            assert_eq!(
                status(&format!("GET /metrics; host: {host}")),
                200,
                "{host}"
            );
        }
        for host in [
            "evil",
            "evil.example:9180",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.8",
            "metrics.internal.evil",
        ] {
            assert_eq!(
                status(&format!("GET /metrics; host: {host}")),
                421,
                "{host}"
            );
            assert_eq!(
                status(&format!("POST /reload; host: {host}")),
                421,
                "{host}"
            );
        }
        let through = |uri: &str, host: &str| status(&format!("GET {uri}; host: {host}"));
        assert_eq!(through("http://evil/metrics", "localhost"), 421);
        assert_eq!(through("http://localhost/metrics", "evil"), 421);
        assert_eq!(through("http://localhost/metrics", "localhost"), 200);
    }

    #[test]
    fn a_request_has_one_host() {
        assert_eq!(status("GET /metrics"), 400);
        assert_eq!(
            status("GET /metrics; host: localhost; host: localhost"),
            400
        );
        assert_eq!(status("GET /metrics; host: a b"), 400);
        assert_eq!(status("GET /metrics 1.0"), 200);
        assert_eq!(status("GET /metrics 1.0; host: evil"), 421);
    }

    #[test]
    fn only_whoever_has_the_token_changes_something_and_without_one_only_a_reload_is_allowed() {
        let close = "POST /sessions/x/close; host: localhost";
        assert_eq!(status(close), 403);
        assert_eq!(status("POST /reload; host: localhost"), 200);
        let with = |request: &str| status_with(Some("the-token"), request);
        assert_eq!(with("GET /sessions; host: localhost"), 200);
        for request in [close, "POST /reload; host: localhost"] {
            assert_eq!(with(request), 401, "{request}");
            for (sent, status) in [
                ("Bearer the-token", 200),
                ("Bearer the-toke", 401),
                ("Bearer the-token2", 401),
                ("Bearer ", 401),
                ("Basic the-token", 401),
                ("the-token", 401),
            ] {
                let request = format!("{request}; authorization: {sent}");
                assert_eq!(with(&request), status, "{request}");
            }
            let of_a_page = format!("{request}; authorization: Bearer the-token; origin: null");
            assert_eq!(with(&of_a_page), 403);
        }
    }

    #[test]
    fn a_page_changes_nothing() {
        let ask =
            |method: &str, more: &str| status(&format!("{method} /reload; host: localhost{more}"));
        assert_eq!(ask("POST", ""), 200);
        assert_eq!(ask("POST", "; sec-fetch-site: none"), 200);
        for more in [
            "; origin: http://localhost:9180",
            "; origin: null",
            "; sec-fetch-site: same-origin",
            "; sec-fetch-site: cross-site",
        ] {
            assert_eq!(ask("POST", more), 403, "{more}");
            assert_eq!(ask("DELETE", more), 403, "{more}");
            assert_eq!(ask("GET", more), 200, "{more}");
        }
    }
}
