//! Who may be asked for a registry's token, and so learn the registry's password.
//!
//! A registry names the realm itself. Docker Hub's `registry-1.docker.io` names `auth.docker.io`,
//! GitLab's `registry.gitlab.com` names `gitlab.com`; most name themselves. So a realm is taken
//! that is on the registry's own host, or on one of the same owner: with the same registrable
//! domain by the Public Suffix List, which private suffixes such as `azurecr.io` are part of. Any
//! other is one that the operator lists in `registry_realms`.

use reqwest::Url;

use crate::fetch::reference::{Reference, Scheme, is_this_machine};
use base::text::clean;

/// The address to ask for a token. Where there are no credentials to lose, any host will do.
///
/// # Errors
/// The realm's host, or what it is instead.
pub(super) fn check(
    reference: &Reference,
    listed: &[String],
    realm: &str,
    has_login: bool,
) -> Result<Url, String> {
    let url = Url::parse(realm).map_err(|_| "no address".to_owned())?;
    let host = url.host_str().unwrap_or_default();
    let shown = clean(host, 100);
    let is_private = match (url.scheme(), reference.scheme) {
        ("https", _) => true,
        ("http", Scheme::Plain) => is_this_machine(host),
        _ => false,
    };
    if !is_private {
        return Err(format!("{shown} without TLS"));
    }
    let own = reference.host_name();
    let trusted = !has_login
        || host.eq_ignore_ascii_case(own)
        || listed
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(host))
        || have_one_owner(own, host);
    if trusted { Ok(url) } else { Err(shown) }
}

fn have_one_owner(one: &str, other: &str) -> bool {
    let is_name = |host: &str| !host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err();
    let owner = |host: &str| {
        let host = host.to_ascii_lowercase();
        // A suffix that is not on the list is nobody's: internal names have none.
        let domain = psl::domain(host.as_bytes())?;
        let domain = domain.suffix().is_known().then_some(domain)?;
        String::from_utf8(domain.as_bytes().to_vec()).ok()
    };
    is_name(one) && is_name(other) && owner(one).is_some() && owner(one) == owner(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(host: &str) -> Reference {
        let digest = "0".repeat(64);
        Reference::parse(&format!("{host}/a@sha256:{digest}"))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_realm_of_the_registry_s_owner_is_asked_and_no_other() {
        for (registry, realm, fine) in [
            (
                "oci://registry-1.docker.io",
                "https://auth.docker.io/token",
                true,
            ),
            ("oci://ghcr.io", "https://ghcr.io/token", true),
            (
                "oci://registry.gitlab.com",
                "https://gitlab.com/jwt/auth",
                true,
            ),
            (
                "oci://Registry.example.co.uk:5000",
                "https://auth.EXAMPLE.co.uk/t?a=b",
                true,
            ),
            ("oci://10.0.0.1:5000", "https://10.0.0.1:5001/token", true),
            (
                "oci://[2001:db8::1]:5000",
                "https://[2001:db8::1]/token",
                true,
            ),
            (
                "oci+http://127.0.0.1:5000",
                "http://127.0.0.1:5001/token",
                true,
            ),
            ("oci://registry.corp", "https://sso.corp/token", false),
            (
                "oci://registry.example.com",
                "https://example.com.evil.net/token",
                false,
            ),
            (
                "oci://registry.example.com",
                "https://evil.net/token",
                false,
            ),
            (
                "oci://registry.example.com",
                "https://registry.example.com@evil.net/",
                false,
            ),
            (
                "oci://registry.example.com",
                "http://registry.example.com/token",
                false,
            ),
            ("oci://a.co.uk", "https://b.co.uk/token", false),
            ("oci://a.github.io", "https://b.github.io/token", false),
            ("oci://10.0.0.1", "https://10.0.0.2/token", false),
            ("oci://10.0.0.1", "https://1.0.0.1/token", false),
            (
                "oci+http://127.0.0.1:5000",
                "http://127.0.0.2:5000/token",
                false,
            ),
            ("oci+http://localhost:5000", "http://10.0.0.1/token", false),
            ("oci://registry.example.com", "token", false),
            ("oci://registry.example.com", "", false),
            ("oci://registry.example.com", "file:///etc/passwd", false),
        ] {
            let found = check(&reference(registry), &[], realm, true);
            assert_eq!(found.is_ok(), fine, "{registry} {realm}: {found:?}");
        }
    }

    #[test]
    fn an_operator_may_list_a_realm_and_a_stranger_learns_nothing_without_a_login() {
        let registry = reference("oci://registry.corp");
        let listed = ["sso.corp".to_owned()];
        assert!(check(&registry, &listed, "https://SSO.corp:8443/token", true).is_ok());
        assert!(check(&registry, &listed, "http://sso.corp/token", true).is_err());
        assert!(check(&registry, &[], "https://sso.corp/token", false).is_ok());
        assert!(check(&registry, &[], "http://sso.corp/token", false).is_err());
    }
}
