use sluice_policy::{Config, Decision, Holder, Rejection};

use super::{Lease, MAX_KEY, ROUNDS, Rule, check_length, superseded};
use crate::fact::Fact;

/// A lease whose holders come one after the other, each faster than us.
#[derive(Default)]
struct Taken {
    holders: Vec<Holder>,
    evictions: usize,
}

impl Taken {
    fn by(users: &[Option<&str>]) -> Self {
        let holder = |(index, user): (usize, &Option<&str>)| Holder {
            session_id: format!("s{index}"),
            since_ms: 0,
            attributes: user
                .iter()
                .map(|user| ("auth.user_id".into(), (*user).into()))
                .collect(),
        };
        Self {
            holders: users.iter().enumerate().map(holder).collect(),
            evictions: 0,
        }
    }
}

impl Lease for Taken {
    fn claim(&mut self) -> Result<(), Holder> {
        self.holders.first().cloned().map_or(Ok(()), Err)
    }

    fn evict(&mut self, holder: &Holder, notice: Rejection) -> Result<(), Holder> {
        assert_eq!(
            holder,
            &self.holders.remove(0),
            "the latest holder is the one to evict"
        );
        assert_eq!(notice, superseded());
        self.evictions += 1;
        self.claim()
    }
}

fn rule(pairs: &[(&str, &str)]) -> Rule {
    Rule::from_config(&Config::fixed(pairs)).unwrap()
}

fn mistake(key: &str, json: &str) -> String {
    Rule::from_config(&Config::fixed(&[(key, json)]))
        .unwrap_err()
        .to_string()
}

fn refused() -> Decision {
    Err(Rejection::ingest_exists("Ingest already active"))
}

const TAKEOVER: [(&str, &str); 1] = [("mode", "\"takeover\"")];
const NOBODY: [(&str, &str); 1] = [("same_user", "\"reject\"")];

#[test]
fn a_free_seat_is_taken() {
    let mut lease = Taken::default();
    assert_eq!(rule(&[]).admit(&mut lease, None), Ok(()));
    assert_eq!(lease.evictions, 0);
}

#[test]
fn the_same_user_takes_over_unless_the_operator_says_no() {
    let mut lease = Taken::by(&[Some("u1")]);
    assert_eq!(rule(&[]).admit(&mut lease, Some("u1")), Ok(()));
    assert_eq!(lease.evictions, 1);
    let mut lease = Taken::by(&[Some("u1")]);
    assert_eq!(rule(&NOBODY).admit(&mut lease, Some("u1")), refused());
    assert_eq!(lease.evictions, 0);
}

#[test]
fn the_newcomer_takes_over_where_the_operator_says_so() {
    let mut lease = Taken::by(&[Some("u2")]);
    assert_eq!(rule(&TAKEOVER).admit(&mut lease, Some("u1")), Ok(()));
    assert_eq!(lease.evictions, 1);
}

#[test]
fn a_faster_newcomer_is_evicted_in_its_turn() {
    let mut lease = Taken::by(&[Some("u2"), Some("u3")]);
    assert_eq!(rule(&TAKEOVER).admit(&mut lease, None), Ok(()));
    assert_eq!(lease.evictions, 2);
}

#[test]
fn a_fight_ends_after_a_few_rounds() {
    let mut lease = Taken::by(&[None; 10]);
    assert_eq!(rule(&TAKEOVER).admit(&mut lease, None), refused());
    assert_eq!(lease.evictions, ROUNDS);
}

#[test]
fn a_user_replaces_their_own_ghost_and_nobody_elses() {
    let rule = rule(&[]);
    assert_eq!(
        rule.admit(&mut Taken::by(&[Some("u1")]), Some("u1")),
        Ok(())
    );
    assert_eq!(
        rule.admit(&mut Taken::by(&[Some("u2")]), Some("u1")),
        refused()
    );
    let mut overtaken = Taken::by(&[Some("u1"), Some("u2")]);
    assert_eq!(rule.admit(&mut overtaken, Some("u1")), refused());
    assert_eq!(overtaken.evictions, 1);
}

#[test]
fn users_who_are_not_known_are_not_the_same_user() {
    let rule = rule(&[]);
    assert_eq!(rule.admit(&mut Taken::by(&[None]), None), refused());
    assert_eq!(rule.admit(&mut Taken::by(&[None]), Some("u1")), refused());
    assert_eq!(rule.admit(&mut Taken::by(&[Some("u1")]), None), refused());
    assert_eq!(rule.admit(&mut Taken::by(&[Some("")]), Some("")), refused());
}

#[test]
fn the_default_key_is_tenant_meeting_and_source() {
    let key = rule(&[]).key(|fact| match fact {
        Fact::Attribute(name) if name == "auth.tenant_id" => Some("t".into()),
        Fact::Param(name) if name == "meeting_id" => Some("m".into()),
        Fact::Query(name) if name == "source" => Some("mic".into()),
        _ => None,
    });
    assert_eq!(key, r#"["t","m","mic"]"#);
}

#[test]
fn a_client_whose_words_make_too_long_a_key_is_refused() {
    assert_eq!(check_length(&"k".repeat(MAX_KEY)), Ok(()));
    let refusal = check_length(&"k".repeat(MAX_KEY + 1)).unwrap_err();
    assert_eq!(refusal.code(), "policy_denied");
    assert!(!refusal.is_retryable());
}

#[test]
fn different_values_never_make_the_same_key() {
    let rule = rule(&[("key", r#"["param.a","param.b"]"#)]);
    let key = |a: Option<&str>, b: Option<&str>| {
        rule.key(|fact| {
            if *fact == Fact::Param("a".into()) {
                a
            } else {
                b
            }
            .map(String::from)
        })
    };
    assert_eq!(key(Some("x\",\"y"), None), r#"["x\",\"y",null]"#);
    assert_ne!(key(Some("x"), Some("y,z")), key(Some("x,y"), Some("z")));
    assert_ne!(key(None, Some("x")), key(Some(""), Some("x")));
    assert_ne!(key(None, Some("x")), key(Some("null"), Some("x")));
}

#[test]
fn a_key_reads_back_as_the_values_it_was_made_of() {
    let rule = rule(&[("key", r#"["route"]"#)]);
    let every_kind: String = ('\0'..='\u{100}').chain(['\u{2028}', '😀']).collect();
    let key = rule.key(|_| Some(every_kind.clone()));
    assert_eq!(
        serde_json::from_str::<Vec<String>>(&key).unwrap(),
        [every_kind]
    );
}

#[test]
fn a_mistake_is_named_with_what_to_do() {
    assert!(
        mistake("mode", "\"replace\"")
            .starts_with("`mode` cannot be \"replace\": write \"reject\"")
    );
    assert!(mistake("same_user", "true").starts_with("`same_user` cannot be true: write"));
    assert!(mistake("key", "[]").starts_with("`key` cannot be []: list"));
    assert!(mistake("key", "\"route\"").starts_with("`key` cannot be \"route\": list"));
    assert!(
        mistake("key", "[\"route\",\"meeting_id\"]")
            .starts_with("`key` cannot be \"meeting_id\": list")
    );
    assert!(mistake("user", "\"user_id\"").starts_with("`user` cannot be \"user_id\": name"));
    assert!(mistake("user", "\"query.user\"").starts_with("`user` cannot be \"query.user\": name"));
}
