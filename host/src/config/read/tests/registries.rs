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
    assert!(config.files.contains(&file));
}
