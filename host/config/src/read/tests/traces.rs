//! `[traces]`, and every way to get it wrong.

use super::*;

fn with(lines: &str) -> String {
    format!("{GOOD}\n[traces]\n{lines}\n")
}

#[track_caller]
fn wrong(lines: &str, message: &str, help: &str) {
    let report = load(&with(lines)).unwrap().1.to_string();
    let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(message), "no {message:?} in\n{report}");
    assert!(flat.contains(help), "no {help:?} in\n{report}");
    assert!(!report.contains("hush"), "{report}");
}

#[test]
fn nothing_is_traced_without_an_endpoint() {
    assert_eq!(good(GOOD).traces, None);
    let told = warnings(&with("sample_ratio = 0.5"));
    assert!(told.contains("[traces] exports nothing"), "{told}");
}

#[test]
fn an_endpoint_makes_the_rest_count() {
    let config = good(&with(
        "endpoint = \"http://127.0.0.1:4318/v1/traces\"\nsample_ratio = 0.25\n\
         attributes = [\"team=audio\"]",
    ));
    let traces = config.traces.unwrap();
    assert_eq!(traces.sample_ratio.to_bits(), 0.25f64.to_bits());
    assert_eq!(traces.attributes, [("team".to_owned(), "audio".to_owned())]);
    assert!(traces.continue_clients && traces.headers.is_empty());
}

#[test]
fn an_endpoint_that_is_no_url_of_a_receiver_is_refused_and_not_quoted() {
    for url in [
        "127.0.0.1:4318",
        "http://127.0.0.1:4318",
        "ftp://127.0.0.1/v1/traces",
        "https://user:hush@collector/v1/traces",
        "no url",
    ] {
        wrong(
            &format!("endpoint = \"{url}\""),
            "`endpoint` is not the URL of a trace collector",
            "write a URL with its path",
        );
    }
}

#[test]
fn a_ratio_is_from_0_to_1() {
    for ratio in ["1.5", "-0.1", "2", "nan"] {
        wrong(
            &format!("endpoint = \"http://localhost:4318/v1/traces\"\nsample_ratio = {ratio}"),
            "`sample_ratio` cannot be",
            "a number from 0 to 1",
        );
    }
    wrong(
        "endpoint = \"http://localhost:4318/v1/traces\"\nsample_ratio = \"all\"",
        "`sample_ratio` is a number, not text",
        "a number from 0 to 1",
    );
}

#[test]
fn headers_are_read_one_a_line_and_go_to_this_machine_or_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("headers"), text).unwrap();
    let read = |url: &str| {
        let lines = format!("endpoint = \"{url}\"\nheaders_file = \"headers\"");
        let (config, diagnostics) = load_in(folder.path(), &with(&lines)).unwrap();
        (config.traces.unwrap(), diagnostics)
    };
    write("Authorization: Bearer hush\r\n\nx-scope: a:b\n");
    for url in [
        "http://localhost:4318/v1/traces",
        "http://[::1]:4318/v1/traces",
        "https://collector.example/v1/traces",
    ] {
        let (traces, report) = read(url);
        assert!(report.is_empty(), "{report}");
        let headers = traces.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (&**name, value.expose()))
            .collect();
        let expected: [(&str, &[u8]); 2] = [("authorization", b"Bearer hush"), ("x-scope", b"a:b")];
        assert_eq!(headers, expected);
    }
    let (_, report) = read("http://collector.example/v1/traces");
    let report = report.to_string();
    assert!(report.contains("would be sent without TLS"), "{report}");
    for (text, why) in [
        ("hush", "line 1 has no colon"),
        ("a: b\nno name: hush", "line 2 is no header"),
        ("Content-Length: 7", "line 1 is no header"),
        ("\n", "there are none"),
    ] {
        write(text);
        let (_, report) = read("https://collector.example/v1/traces");
        let report = report.to_string();
        let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(why), "no {why:?} in\n{report}");
        assert!(!report.contains("hush"), "{report}");
    }
    wrong(
        "endpoint = \"https://a/v1/traces\"\nheaders_file = \"a\"\nheaders_env = \"LONG_SECRET\"",
        "two sources of the same headers",
        "keep one of the two",
    );
    wrong(
        "endpoint = \"https://a/v1/traces\"\nattributes = [\"team\"]",
        "\"team\" is not an attribute",
        "write a name and a value",
    );
}
