//! Who the gateway is to registries.

use super::*;

#[test]
fn credentials_for_registries_are_read_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("registry_credentials = \"auths.json\"\n{GOOD}");
    let report = |text: &str| {
        let report = report_in(folder.path(), text);
        assert!(report.contains("sluice.toml:1:"), "no line in\n{report}");
        assert!(
            report.contains("registry_credentials = \"auths.json\""),
            "{report}"
        );
        assert!(
            report.contains("1 mistake in") && !report.contains("HUSH"),
            "{report}"
        );
        report.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let missing = report(&text);
    assert!(
        missing.contains("`registry_credentials` cannot be used"),
        "{missing}"
    );
    let file = folder.path().join("auths.json");
    std::fs::write(&file, r#"{"auths": "HUSH"}"#).unwrap();
    let broken = report(&text);
    assert!(broken.contains("line 1, column 16"), "{broken}");
    std::fs::write(&file, r#"{"auths": {"a": {"auth": "dTpIVVNI"}}}"#).unwrap();
    let (config, diagnostics) = load_in(folder.path(), &text).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics}");
    assert_eq!(
        config.credentials.of("a").unwrap().password.expose(),
        b"HUSH"
    );
    // So that a change of it is taken up.
    assert!(config.files.contains_key(&file));
}

#[test]
fn credentials_that_cannot_be_used_are_warned_of_and_hide_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auths.json");
    let json =
        "\u{feff}{\"auths\": {\"a\": {\"auth\": \"dTpIVVNI\"}, \"b\": {}}, \"credsStore\": \"x\"}";
    std::fs::write(&file, json).unwrap();
    let component = format!("oci://a/b@sha256:{}", "0".repeat(64));
    let text = GOOD.replace("builtin:sample-rate", &component);
    let text = format!("registry_credentials = \"auths.json\"\n{text}");
    let (config, diagnostics) = load_in(folder.path(), &text).unwrap();
    let warnings = diagnostics.finish().unwrap();
    let warnings = warnings.render(base::diagnostics::Look::Plain);
    assert!(
        warnings.contains("no credentials for b: a program keeps"),
        "{warnings}"
    );
    assert!(warnings.contains("sluice.toml:1:"), "{warnings}");
    assert!(!warnings.contains("HUSH"), "{warnings}");
    assert!(config.credentials.of("a").is_some());
    std::fs::write(&file, r#"{"auths": {}}"#).unwrap();
    let report = report_in(folder.path(), &text);
    assert!(report.contains("it has no name and password"), "{report}");
    for realm in ["https://sso.example.net", "sso.example.net:443", "a b"] {
        let text = format!("registry_realms = [\"{realm}\"]\n{GOOD}");
        let report = self::report(&text);
        assert!(report.contains("is not a host"), "{report}");
    }
}
