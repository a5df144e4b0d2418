use super::*;
use crate::testing::facts;

fn expand(template: &str, meeting: &str) -> Result<String, ExpandError> {
    let template = Template::parse(template).unwrap();
    template.expand_with(|fact| match fact {
        Fact::Param(name) if name == "m" => Ok(meeting.to_owned()),
        other => panic!("{other:?}"),
    })
}

#[test]
fn what_fills_a_place_stays_in_it() {
    for (meeting, path, query) in [
        ("m1", "/in/m1/x", "/in?m=m1&b=2"),
        ("a/b", "/in/a%2Fb/x", "/in?m=a%2Fb&b=2"),
        (
            "../../admin",
            "/in/..%2F..%2Fadmin/x",
            "/in?m=..%2F..%2Fadmin&b=2",
        ),
        (
            "a?b=1&c#d",
            "/in/a%3Fb%3D1%26c%23d/x",
            "/in?m=a%3Fb%3D1%26c%23d&b=2",
        ),
        ("%2e%2e", "/in/%252e%252e/x", "/in?m=%252e%252e&b=2"),
        (
            "a b\r\nHost: x",
            "/in/a%20b%0D%0AHost%3A%20x/x",
            "/in?m=a%20b%0D%0AHost%3A%20x&b=2",
        ),
        ("ü", "/in/%C3%BC/x", "/in?m=%C3%BC&b=2"),
        (
            "{param.m}",
            "/in/%7Bparam.m%7D/x",
            "/in?m=%7Bparam.m%7D&b=2",
        ),
    ] {
        assert_eq!(expand("ws://h/in/{param.m}/x", meeting).unwrap(), path);
        assert_eq!(expand("ws://h/in?m={param.m}&b=2", meeting).unwrap(), query);
    }
}

#[test]
fn a_segment_that_would_climb_or_vanish_is_refused() {
    for segment in ["", ".", ".."] {
        assert_eq!(
            expand("ws://h/in/{param.m}/x", segment),
            Err(ExpandError::Segment(segment.to_owned()))
        );
        expand("ws://h/in/m-{param.m}", segment).unwrap();
        expand("ws://h/in?m={param.m}", segment).unwrap();
    }
}

#[test]
fn the_facts_of_a_connection_fill_it_and_an_identity_must_be_there() {
    let facts = facts("/x?source=mic&token=secret", &[]);
    facts
        .set_attribute("auth", "user_id", "u 1".into())
        .unwrap();
    let template =
        Template::parse("ws://h/{auth.user_id}?source={query.source}&l={query.lang}").unwrap();
    assert_eq!(template.expand(&facts).unwrap(), "/u%201?source=mic&l=");
    let other = Template::parse("ws://h/{auth.tenant_id}").unwrap();
    let missing = ExpandError::Missing("auth.tenant_id".to_owned());
    assert_eq!(other.expand(&facts), Err(missing));
}

#[test]
fn host_and_port_are_what_is_dialled() {
    for (url, scheme, host, port) in [
        ("ws://h", UrlScheme::Ws, "h", 80),
        ("wss://h.example/x", UrlScheme::Wss, "h.example", 443),
        ("ws://127.0.0.1:9000?x=1", UrlScheme::Ws, "127.0.0.1", 9000),
        ("wss://[::1]:9/x", UrlScheme::Wss, "::1", 9),
    ] {
        let template = Template::parse(url).unwrap();
        assert_eq!(template.scheme(), scheme);
        assert_eq!(template.host_and_port(), (host, port), "{url}");
    }
}

#[test]
fn what_is_no_template_says_why() {
    let unknown = |name: &str| TemplateError::Unknown(name.to_owned());
    let secret = TemplateError::Secret("query.token".to_owned());
    for (url, error) in [
        ("http://h/", TemplateError::Scheme),
        ("h/x", TemplateError::Scheme),
        ("ws:///x", TemplateError::Host),
        ("ws://u:p@h/x", TemplateError::Host),
        ("ws://{param.h}/x", TemplateError::Host),
        ("ws://h:/x", TemplateError::Host),
        ("ws://h:99999/x", TemplateError::Host),
        ("ws://h/{param.m", TemplateError::Braces),
        ("ws://h/param.m}", TemplateError::Braces),
        ("ws://h/{meeting}", unknown("meeting")),
        ("ws://h/{param.}", unknown("param.")),
        ("ws://h/{header.cookie}", unknown("header.cookie")),
        ("ws://h/{query.token}", secret),
        ("ws://h/a b", TemplateError::Url),
        ("ws://h/a#b", TemplateError::Url),
        ("ws://h/a\r\nb", TemplateError::Url),
    ] {
        assert_eq!(Template::parse(url), Err(error), "{url}");
    }
}
