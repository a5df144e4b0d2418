//! What a new policy may be called.

use anyhow::bail;

use crate::arguments::Language;
use config::FACTS;
use policy::load;

/// Longest name, in bytes: it becomes part of file names.
const LONGEST: usize = 64;

/// The SDK's package. Every project in Rust has it, and cargo takes no two of one name.
const SDK: &str = "sluice-policy";

/// Checks that a project of this name builds and loads, and suggests another name if not.
///
/// # Errors
/// What is wrong with the name.
pub(super) fn check(name: &str, language: Language) -> anyhow::Result<()> {
    let Some(flaw) = flaw(name, language) else {
        return Ok(());
    };
    bail!(
        "a policy cannot be called \"{}\": {flaw}. Choose another name, such as \"{}\"",
        name.escape_debug(),
        suggestion(name, language)
    );
}

/// The name of the crate of a project in Rust. It is no keyword and no crate of anybody else's,
/// whatever the policy is called.
pub(super) fn of_crate(name: &str) -> String {
    format!("policy_{}", name.replace('-', "_"))
}

fn flaw(name: &str, language: Language) -> Option<String> {
    let is_word = |word: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !word.is_empty() && word.bytes().all(fits)
    };
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.split('-').all(is_word)
    {
        return Some(
            "a name has lowercase letters and digits, begins with a letter, and may have single \
             hyphens between its words"
                .to_owned(),
        );
    }
    if name.len() > LONGEST {
        return Some(format!("it has more than {LONGEST} characters"));
    }
    if FACTS.contains(&name) {
        return Some(format!(
            "what it leaves for later policies would look like `{name}.NAME`, which comes from the \
             client"
        ));
    }
    if load::builtin(name).is_some() {
        return Some(
            "a built-in policy has that name, and stands in the project's own sluice.toml"
                .to_owned(),
        );
    }
    (language == Language::Rust && name == SDK)
        .then(|| "the project has the SDK in it, whose package has that name".to_owned())
}

/// A name that is close to this one and can be taken.
fn suggestion(name: &str, language: Language) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    let from_letter = joined.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    let fitting = from_letter.get(..LONGEST).unwrap_or(from_letter);
    let fitting = fitting.trim_end_matches('-');
    match fitting {
        "" => "my-policy".to_owned(),
        taken if flaw(taken, language).is_some() => format!("my-{taken}"),
        free => free.to_owned(),
    }
}

#[cfg(test)]
mod tests;
