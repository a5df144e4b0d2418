//! A configuration file of arbitrary text: it is read or refused, never
//! followed by a panic; every mistake is shown where it stands; no report
//! shows a secret.
#![no_main]

use std::path::Path;

use base::diagnostics::{Diagnostics, Look};
use config::Config;
use keys::settings::KeySource;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "fuzzed.toml";

fuzz_target!(|text: &str| {
    // Nothing is there, so that no file of this machine decides what happens.
    let folder = Path::new("/nonexistent");
    match Config::parse(NAME, text, folder) {
        Err(mistakes) => shown(&mistakes, text),
        Ok((config, mut mistakes)) => {
            resolves(&config);
            shown(&mistakes, text);
            // A later stage may find a mistake anywhere in the file.
            for key_set in config.key_sets.values() {
                mistakes.error(&key_set.place, "a mistake", "mend it");
            }
            for policy in config.policies.values() {
                mistakes.error(&policy.config_place, "a mistake", "mend it");
            }
            for route in config.routes.values() {
                mistakes.error(&route.on_connect_place, "a mistake", "mend it");
            }
            shown(&mistakes, text);
            keeps_secrets(&config, &mistakes, text);
        }
    }
});

/// Every mistake names the file and a line that is there, and says what to do.
fn shown(mistakes: &Diagnostics, text: &str) {
    // Each mistake begins with a cross.
    let report = format!("\n{}", mistakes.render(Look::Plain));
    mistakes.render(Look::Terminal).to_string();
    let control = report.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{report}");
    let each: Vec<&str> = report.split("\n  x ").skip(1).collect();
    assert_eq!(each.len(), mistakes.len(), "{report}");
    let last = text.split('\n').count();
    for mistake in each {
        assert!(mistake.contains("help: "), "{mistake}");
        // One that has two places far apart shows both.
        let lines: Vec<usize> = mistake.lines().filter_map(line_of).collect();
        let there = lines.iter().all(|line| (1..=last).contains(line));
        assert!(there && matches!(lines.len(), 1 | 2), "{mistake}");
    }
}

/// The line in what stands above a picture, as in `,-[fuzzed.toml:4:1]`.
fn line_of(above: &str) -> Option<usize> {
    let place = above.trim_start().strip_prefix(",-[")?;
    let place = place.strip_prefix(NAME)?.strip_prefix(':')?;
    let (line, _) = place.split_once(':')?;
    line.parse().ok()
}

/// Every name in a configuration that was read means something.
fn resolves(config: &Config) {
    for route in config.routes.values() {
        assert!(config.upstreams.contains_key(&route.upstream));
        for policy in route.on_connect.iter().chain(&route.on_handshake) {
            assert!(config.policies.contains_key(policy));
        }
    }
    // Names are all that is printed of what may hold a secret.
    assert!(!format!("{config:?}").is_empty());
}

fn keeps_secrets(config: &Config, mistakes: &Diagnostics, text: &str) {
    let report = mistakes.to_string();
    for key_set in config.key_sets.values() {
        let KeySource::Secret(secret) = &key_set.source else {
            continue;
        };
        let Ok(secret) = std::str::from_utf8(secret.expose()) else {
            continue;
        };
        // One that stands twice in the file may be shown where it is no secret.
        if text.matches(secret).count() == 1 {
            assert!(!report.contains(secret), "a secret is shown:\n{report}");
            assert!(!format!("{config:?}").contains(secret));
        }
    }
}
