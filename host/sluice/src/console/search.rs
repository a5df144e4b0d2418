//! Search by words that an operator types.

use gateway::connections::LiveConnection;
use gateway::refusals::Refusal;

/// Words that must all be in what is looked for, in any of its fields.
#[derive(Debug, Default)]
pub(super) struct Search(Vec<String>);

/// Maximum number of words.
const MAX_WORDS: usize = 8;

impl Search {
    pub(super) fn new(text: &str) -> Self {
        let words = text.split_whitespace().take(MAX_WORDS);
        Self(words.map(str::to_lowercase).collect())
    }

    fn is_in(&self, fields: &[Option<&str>]) -> bool {
        let fields = fields.iter().flatten().map(|field| field.to_lowercase());
        let fields: Vec<_> = fields.collect();
        let mut words = self.0.iter();
        words.all(|word| fields.iter().any(|field| field.contains(word)))
    }

    /// Whether the words are in a session.
    pub(super) fn finds(&self, live: &LiveConnection) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let facts = &live.session().facts;
        let (user, tenant) = (live.user(), live.tenant());
        // It takes a look at the token, and is not asked for where the user is verified.
        let claimed = if user.is_none() {
            facts.claimed()
        } else {
            None
        };
        let claimed = claimed.as_ref();
        self.is_in(&[
            Some(&facts.session_id),
            Some(&facts.remote.to_string()),
            Some(&facts.route),
            Some(live.stage().word()),
            user.as_deref(),
            tenant.as_deref(),
            claimed.and_then(|claimed| claimed.user.as_deref()),
            claimed.and_then(|claimed| claimed.tenant.as_deref()),
            live.meeting().as_deref(),
            live.source().as_deref(),
        ])
    }

    /// Whether the words are in a refusal.
    pub(super) fn finds_refusal(&self, refusal: &Refusal) -> bool {
        let claimed = refusal.claimed.as_ref();
        let policies = refusal.decisions.iter();
        let policies = policies.map(|record| Some(&*record.policy));
        let client = refusal.client.to_string();
        let close_code = refusal.close_code.to_string();
        let fields = [
            Some(&*refusal.session),
            Some(&client),
            Some(&refusal.route),
            Some(refusal.stage),
            Some(refusal.cause),
            Some(&close_code),
            Some(&refusal.code),
            Some(&refusal.message),
            Some(&refusal.detail),
            refusal.user.as_deref(),
            refusal.tenant.as_deref(),
            claimed.and_then(|claimed| claimed.user.as_deref()),
            claimed.and_then(|claimed| claimed.tenant.as_deref()),
            refusal.meeting.as_deref(),
            refusal.source.as_deref(),
        ];
        let fields: Vec<_> = fields.into_iter().chain(policies).collect();
        self.0.is_empty() || self.is_in(&fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_must_be_there_in_any_field_and_in_any_case() {
        let fields = [Some("Acme"), None, Some("10.0.0.7:4711")];
        for (text, found) in [
            ("", true),
            ("acme", true),
            ("10.0. ACM", true),
            ("acme nobody", false),
            ("acme10", false),
        ] {
            assert_eq!(Search::new(text).is_in(&fields), found, "{text}");
        }
    }
}
