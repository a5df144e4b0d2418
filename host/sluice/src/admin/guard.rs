//! Protection of the admin listener: against web pages, and of what changes something.
//!
//! A page whose host name resolves to this machine can read everything from its own origin (DNS
//! rebinding). Its browser still sends that name in `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};

use base::secret::Secret;
use config::AdminTokens;

/// Header that browsers set on every request (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It reads: a token of either role, or none on this machine where readers have none.
    Read,
    /// It changes something: the token of those who operate.
    Operate,
    /// It reloads: as [`Need::Operate`], or none on this machine where there is no such token.
    Reload,
}

/// Role of whoever sends a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Read,
    Operate,
}

/// Host names under which a listener answers, and the tokens of those who may use it.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    address: IpAddr,
    hosts: Arc<[String]>,
    tokens: Arc<ArcSwap<AdminTokens>>,
}

/// Answer to a refused request.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, sentence) = self;
        // Whoever is refused must not hold a connection, of which there are few.
        let close = [(header::CONNECTION, "close")];
        if status == StatusCode::UNAUTHORIZED {
            let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (status, close, scheme, sentence).into_response();
        }
        (status, close, sentence).into_response()
    }
}

impl Guard {
    /// Guard of a listener with this address and these names.
    #[must_use]
    pub(super) fn new(
        address: SocketAddr,
        hosts: &[String],
        tokens: Arc<ArcSwap<AdminTokens>>,
    ) -> Self {
        Self {
            address: address.ip().to_canonical(),
            hosts: hosts.into(),
            tokens,
        }
    }

    /// Refuses requests that a web page of another origin could have made.
    ///
    /// # Errors
    /// The answer to the refused request.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
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
            return Err(Refusal(StatusCode::BAD_REQUEST, sentence));
        };
        // An absolute target takes precedence over the header (RFC 9112, section 3.2.2).
        let named = request.uri().authority().unwrap_or(&host);
        if ![named, &host].iter().all(|host| self.is_ours(host.host())) {
            let sentence = "the admin listener is not called by this name: ask for localhost or its address, or \
                            add the name to admin_hosts in [server]\n";
            return Err(Refusal(StatusCode::MISDIRECTED_REQUEST, sentence));
        }
        // Its own page sends the token, which a page of another origin does not have.
        let may_change =
            || is_own_page(headers, &host) && self.role(headers) == Some(Role::Operate);
        if changes(request.method()) && is_of_a_page(headers) && !may_change() {
            let sentence = "a web page may not ask for this\n";
            return Err(Refusal(StatusCode::FORBIDDEN, sentence));
        }
        Ok(())
    }

    /// Refuses requests of those who may not do this.
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub(super) fn allow(&self, need: Need, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_local = self.address.is_loopback();
        let AdminTokens { read, operate } = &**self.tokens.load();
        let needs_none = match need {
            Need::Read => is_local && read.is_none(),
            Need::Reload => is_local && operate.is_none(),
            Need::Operate => false,
        };
        match (self.role(headers), need) {
            _ if needs_none => Ok(()),
            (Some(Role::Operate), _) | (Some(Role::Read), Need::Read) => Ok(()),
            (_, Need::Operate | Need::Reload) if operate.is_none() => {
                let sentence =
                    "nobody may do this: set admin_token_file in [server], and send its token\n";
                Err(Refusal(StatusCode::FORBIDDEN, sentence))
            }
            (Some(Role::Read), Need::Operate | Need::Reload) => {
                let sentence =
                    "this token may only read: send that of admin_token_file or admin_token_env\n";
                Err(Refusal(StatusCode::FORBIDDEN, sentence))
            }
            (None, _) => {
                let sentence = "send a token of the admin listener: Authorization: Bearer TOKEN\n";
                Err(Refusal(StatusCode::UNAUTHORIZED, sentence))
            }
        }
    }

    /// Role of the token that was sent.
    fn role(&self, headers: &HeaderMap) -> Option<Role> {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else {
            return None;
        };
        let sent = sent.as_bytes().strip_prefix(b"Bearer ")?;
        let tokens = self.tokens.load();
        let is = |token: &Option<Secret>| {
            let token = token.as_ref();
            token.is_some_and(|token| verify_slices_are_equal(sent, token.expose()).is_ok())
        };
        if is(&tokens.operate) {
            return Some(Role::Operate);
        }
        is(&tokens.read).then_some(Role::Read)
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            // A page that names an address comes from that address, which is one of this machine.
            if address.is_loopback() || address == self.address || self.address.is_unspecified() {
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

/// Whether the page comes from this listener, which is called `host`.
fn is_own_page(headers: &HeaderMap, host: &Authority) -> bool {
    let site = headers.get(SEC_FETCH_SITE);
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| {
        origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
    });
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()))
        && site.is_none_or(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const OPEN: AdminTokens = AdminTokens {
        read: None,
        operate: None,
    };

    fn tokens(read: Option<&str>, operate: Option<&str>) -> AdminTokens {
        AdminTokens {
            read: read.map(Secret::new),
            operate: operate.map(Secret::new),
        }
    }

    fn status(request: &str) -> u16 {
        status_at("127.0.0.1:9180", OPEN, Need::Reload, request)
    }

    fn status_at(address: &str, tokens: AdminTokens, need: Need, request: &str) -> u16 {
        let guard = Guard::new(
            address.parse().unwrap(),
            &["metrics.internal".to_owned(), "10.0.0.7".to_owned()],
            Arc::new(ArcSwap::from_pointee(tokens)),
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
        let checked = checked.and_then(|()| guard.allow(need, request.headers()));
        checked
            .err()
            .map_or(200, |Refusal(status, _)| status.as_u16())
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
    fn each_role_may_do_its_own_and_without_tokens_this_machine_reads_and_reloads() {
        let [local, remote, any] = ["127.0.0.1:1", "10.0.0.7:1", "0.0.0.0:1"];
        let needs = [Need::Read, Need::Reload, Need::Operate];
        let (read, operate) = (Some("the-reader"), Some("the-operator"));
        for (address, read, operate, sent, expected) in [
            (local, None, None, "", [200, 200, 403]),
            (local, None, operate, "", [200, 401, 401]),
            (local, None, operate, "Bearer the-operator", [200, 200, 200]),
            (local, read, None, "", [401, 200, 403]),
            (local, read, None, "Bearer the-reader", [200, 200, 403]),
            (local, read, operate, "", [401, 401, 401]),
            (local, read, operate, "Bearer the-reader", [200, 403, 403]),
            (local, read, operate, "Bearer the-operator", [200, 200, 200]),
            // However it came to have none, a listener for others needs a token.
            (remote, None, None, "", [401, 403, 403]),
            (any, None, None, "Bearer ", [401, 403, 403]),
            (remote, None, operate, "", [401, 401, 401]),
            (any, read, operate, "Bearer the-reader", [200, 403, 403]),
            (any, read, None, "Bearer the-reader", [200, 403, 403]),
        ] {
            for (need, expected) in needs.into_iter().zip(expected) {
                let request = match sent {
                    "" => "POST /; host: localhost".to_owned(),
                    sent => format!("POST /; host: localhost; authorization: {sent}"),
                };
                let status = status_at(address, tokens(read, operate), need, &request);
                assert_eq!(
                    status, expected,
                    "{need:?} at {address} with {sent:?}, {read:?}"
                );
            }
        }
    }

    #[test]
    fn only_the_whole_token_is_taken() {
        for sent in [
            "Bearer the-toke",
            "Bearer the-token2",
            "Bearer the-token ",
            "Bearer  the-token",
            "Bearer ",
            "Basic the-token",
            "the-token",
            "Bearer the-token; authorization: Bearer the-token",
        ] {
            let request = format!("POST /; host: localhost; authorization: {sent}");
            let tokens = tokens(None, Some("the-token"));
            let status = status_at("127.0.0.1:1", tokens, Need::Operate, &request);
            assert_eq!(status, 401, "{sent}");
        }
    }

    #[test]
    fn only_its_own_page_changes_something_and_only_with_the_token() {
        let ask = |sent: &str, more: &str| {
            let request = format!("POST /; host: localhost:9180; {more}; authorization: {sent}");
            let tokens = tokens(Some("the-reader"), Some("the-operator"));
            status_at("127.0.0.1:9180", tokens, Need::Operate, &request)
        };
        let own = "origin: http://localhost:9180";
        for (more, status) in [
            (own, 200),
            (
                "origin: http://localhost:9180; sec-fetch-site: same-origin",
                200,
            ),
            (
                "origin: http://localhost:9180; sec-fetch-site: same-site",
                403,
            ),
            (
                "origin: http://localhost:9180; sec-fetch-site: cross-site",
                403,
            ),
            (
                "origin: http://localhost:9180; origin: http://localhost:9180",
                403,
            ),
            ("sec-fetch-site: same-origin", 403),
            ("origin: null", 403),
            ("origin: http://localhost:9181", 403),
            ("origin: http://localhost", 403),
            ("origin: http://evil.example", 403),
        ] {
            assert_eq!(ask("Bearer the-operator", more), status, "{more}");
            assert_eq!(ask("Bearer the-reader", more), 403, "{more}");
        }
        assert_eq!(ask("", own), 403);
    }

    #[test]
    fn a_listener_on_all_networks_is_asked_by_any_address_and_by_its_names() {
        let ask = |host: &str| {
            let request = format!("GET /; host: {host}; authorization: Bearer the-reader");
            let tokens = tokens(Some("the-reader"), None);
            status_at("0.0.0.0:9180", tokens, Need::Read, &request)
        };
        for host in ["10.1.2.3:9180", "[2001:db8::1]:9180", "metrics.internal"] {
            assert_eq!(ask(host), 200, "{host}");
        }
        for host in ["evil.example", "10.1.2.3.evil.example", "0x0a010203"] {
            assert_eq!(ask(host), 421, "{host}");
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
