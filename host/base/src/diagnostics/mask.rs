//! Masking of everything that may be a secret, before a line of the file is shown.
//!
//! A report shows the line of each mistake and its neighbours. Any of them may hold a secret: under
//! its own key, under a misspelt one, commented out, or in a file that does not even parse. So this
//! works on the text alone, and hides too much rather than too little. It keeps the length in
//! bytes, so that places stay valid.
//!
//! Control characters are replaced too, because a terminal would obey them.

use std::ops::Range;

use crate::credentials;

/// Keys that look like a secret's and whose values are safe to show.
const SAFE: [&str; 16] = [
    "admin_token_file",
    "by_issuer",
    "generate",
    "secret_env",
    "secret_file",
    "pem_file",
    "jwks_file",
    "jwks_ca_file",
    "jwks_refresh",
    "jwks_stale",
    "issuer",
    "algorithms",
    "issuers",
    "audiences",
    "leeway",
    "registry_credentials",
];

/// The text, with asterisks in place of every value that may be a secret. A question mark replaces
/// each control character other than a line break or a tab.
pub(super) fn mask(text: &str) -> String {
    let hidden = hidden(text);
    let mut hidden = hidden.iter().peekable();
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        while hidden.next_if(|range| range.end <= at).is_some() {}
        let layout = match c {
            '\n' | '\t' => true,
            '\r' => chars.peek().is_some_and(|(_, next)| *next == '\n'),
            _ => false,
        };
        let cover = if layout {
            None
        } else if hidden.peek().is_some_and(|range| range.contains(&at)) {
            Some('*')
        } else {
            c.is_control().then_some('?')
        };
        match cover {
            Some(cover) => shown.extend(std::iter::repeat_n(cover, c.len_utf8())),
            None => shown.push(c),
        }
    }
    shown
}

fn hidden(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut anywhere: Vec<_> = credentials::tokens(text).collect();
    let mut in_key_sets = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let covered =
            |at: usize, ranges: &[Range<usize>]| ranges.last().is_some_and(|r| at < r.end);
        if covered(start, &ranges) {
            continue;
        }
        let bare = line.trim_start().trim_start_matches('#').trim_start();
        if bare.starts_with('[') {
            in_key_sets = names_key_sets(bare);
        }
        let in_key_sets = in_key_sets || names_key_sets(bare);
        for (equals, _) in line.match_indices('=') {
            let (key, value) = (last_word(&line[..equals]), start + equals + 1);
            if !covered(value, &ranges) && is_sensitive(key, in_key_sets) {
                ranges.extend(value_range(text, value));
            }
        }
        anywhere.extend(userinfo(line).map(|range| start + range.start..start + range.end));
    }
    ranges.append(&mut anywhere);
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// Position of the userinfo in each address of a line (RFC 3986, section 3.2.1): a user name,
/// usually with a password.
fn userinfo(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices("://").filter_map(|(at, separator)| {
        let start = at + separator.len();
        let rest = &line[start..];
        let authority = rest.split(['/', '"', '\'', ' ', '\n']).next()?;
        Some(start..start + authority.rfind('@')?)
    })
}

fn names_key_sets(line: &str) -> bool {
    let name = line.trim_start_matches(['[', ' ', '\t', '"', '\'']);
    name.starts_with("key_sets")
}

fn last_word(before_equals: &str) -> &str {
    let trimmed = before_equals.trim_end().trim_end_matches(['"', '\'']);
    let word = trimmed.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
    word.map_or(trimmed, |at| {
        trimmed[at..].trim_start_matches(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')))
    })
}

fn is_sensitive(key: &str, in_key_sets: bool) -> bool {
    let key = key.to_ascii_lowercase();
    if SAFE.contains(&key.as_str()) {
        return false;
    }
    in_key_sets
        || ["secret", "password", "credential", "private"]
            .iter()
            .any(|word| key.contains(word))
        || strsim::osa_distance(&key, "secret") <= 2
}

/// Inside of the value that starts at `from`; `None` for a table, whose own keys are checked
/// instead.
fn value_range(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = &text[from..];
    let start = from + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let value = &text[start..];
    if value.starts_with('{') {
        return None;
    }
    if let Some(inside) = value.strip_prefix("\"\"\"") {
        return Some(start + 3..start + 3 + unescaped_end(inside));
    }
    if let Some(inside) = value.strip_prefix("'''") {
        let length = inside.find("'''").unwrap_or(inside.len());
        return Some(start + 3..start + 3 + length);
    }
    let line = value.lines().next().unwrap_or_default();
    if value.starts_with('[') && (line.contains('#') || !line.trim_end().ends_with(']')) {
        return Some(start..start + list_end(value));
    }
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''));
    let closing = quote.and_then(|quote| closing_quote(&line[1..], quote));
    Some(match closing {
        Some(length) => start + 1..start + 1 + length,
        None => start..start + line.len(),
    })
}

/// End of a multi-line basic string. A quote in it may be escaped, and two quotes may follow its
/// last character.
fn unescaped_end(inside: &str) -> usize {
    let mut at = 0;
    while let Some(length) = inside[at..].find(['\\', '"']) {
        at += length;
        let rest = &inside[at..];
        if rest.starts_with("\"\"\"") {
            return at;
        }
        let escaped = rest.starts_with('\\');
        at += rest
            .chars()
            .take(if escaped { 2 } else { 1 })
            .map(char::len_utf8)
            .sum::<usize>();
    }
    inside.len()
}

/// End of a list of many lines: a line that begins with its bracket. A list that ends in another
/// way hides more than necessary.
fn list_end(list: &str) -> usize {
    let mut ends = list.match_indices('\n').map(|(at, _)| at + 1);
    ends.find(|at| list[*at..].trim_start_matches([' ', '\t']).starts_with(']'))
        .unwrap_or(list.len())
}

fn closing_quote(inside: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if escaped {
            escaped = false;
        } else if c == quote {
            return Some(at);
        } else {
            escaped = c == '\\' && quote == '"';
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::mask;

    /// Masks `text` and checks the invariants of every mask.
    #[track_caller]
    fn masked(text: &str) -> String {
        let shown = mask(text);
        assert_eq!(shown.len(), text.len(), "{text:?}");
        assert!(!shown.contains("HUSH"), "{shown}");
        shown
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        for text in [
            "[key_sets.dev]\nsecret = \"HUSH\"",
            "[key_sets.dev]\r\n  secret=\"HUSH\"\r\n",
            "[key_sets.dev]\n# secret = 'HUSH'",
            "[key_sets.dev]\nsecret = \"\"\"\nHUSH\nHUSH\"\"\"",
            "[key_sets.dev]\nsecret = '''\nHUSH",
            "[key_sets.dev]\nsecret = \"a\\\"HUSH\"",
            "[key_sets.dev]\nsecret = \"HUSH",
            "[key_sets.dev]\nsecret = HUSH",
            "[key_sets.dev]\nsecret = [\"HUSH\"]",
            "[key_sets.dev]\nsecret = [\n\"HUSH\", # ]\n\"HUSH]HUSH\"\n]\n",
            "[key_sets.dev]\nsecret = [\n\"HUSH\"",
            "[key_sets.dev]\nsecret = \"\"\"a\\\"\"\"HUSH\"\"\"",
            "[key_sets.dev]\nsecert = \"HUSH\"",
            "[key_sets.dev]\nhmac = \"HUSH\"",
            "[key_sets.dev]\n\"secret\" = \"HUSH\"",
            "[key_sets]\ndev.hmac = \"HUSH\"",
            "[ \"key_sets\".dev ]\nhmac = \"HUSH\"",
            "key_sets = { dev = { hmac = \"HUSH\" } }",
            "key_sets.dev.hmac = \"HUSH\"",
            "[keysets.dev]\nsecret = \"HUSH\"",
            "[key_sets.dev]\npem = \"\"\"\n-----BEGIN PRIVATE KEY-----\nHUSH=\n\"\"\"",
            "[key_sets.dev]\njwks = '{\"keys\":[{\"k\":\"HUSH\"}]}'",
            "[policies.x.config]\nclient_secret = \"HUSH\"\ndb_password = \"HUSH\"",
            "[key_sets.dev]\nsecret = \"ğHUSHğ\" # ğ",
            "[policies.x]\ncomponent = \"oci://HUSH:HUSH@a/b@sha256:0\" # x",
            "token = \"eyJHUSHHUSHHUSHHUSHHUSH.eyJHUSHHUSHHUSHHUSH.HUSHHUSHHUSH\"",
            "password = \"x\" # see wss://HUSH@a and wss://a/b?c://HUSH@d",
        ] {
            masked(text);
        }
    }

    #[test]
    fn everything_else_is_shown() {
        for text in [
            "[key_sets.dev]\ngenerate = true\nalgorithms = [\"HS256\"]\nissuers = [\"our-app\"]\n",
            "[key_sets.dev]\nsecret_file = \"key\" # a file\nsecret_env = \"KEY\"\n",
            "registry_credentials = \"auths.json\"\ncomponent = \"oci://a:5000/b:1@sha256:0\"\n",
            "[policies.auth.config]\nkey_set = \"dev\"\nkey = [\"auth.tenant_id\"]\n",
            "[routes.ingest]\ntoken_expiry = \"close\"\npaths = [\"/ş/{id}\"]\n",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn nothing_in_a_file_moves_the_cursor() {
        let text = "a\u{1b}[2J\0b\rc\r\n\td\u{9b}e";
        assert_eq!(masked(text), "a?[2J?b?c\r\n\td??e");
    }

    #[test]
    fn a_section_after_the_key_sets_is_shown_again() {
        let text = "[key_sets.dev]\nsecret = \"HUSH\"\n[server]\nlisten = \"x\"\n";
        assert_eq!(masked(text), text.replace("HUSH", "****"));
    }
}
