use super::*;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

fn add(amount: i64) -> Change {
    Change::Add {
        amount,
        life: SECOND,
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_begins_at_zero_adds_up_and_ends_when_it_was_to() {
    let counters = Counters::default();
    let change = |change| counters.change(Account::of("p", 10), "k", change).unwrap();
    assert_eq!(change(Change::None), 0);
    assert_eq!(change(add(2)), 2);
    advance(SECOND / 2).await;
    assert_eq!(change(add(-5)), -3);
    // Adding did not prolong it.
    advance(SECOND / 2).await;
    assert_eq!(change(Change::None), 0);
    assert_eq!(change(add(1)), 1);
    assert_eq!(change(add(i64::MAX)), i64::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_counter_begins_its_life_anew_and_answers_what_it_was() {
    let counters = Counters::default();
    let change = |change| counters.change(Account::of("p", 10), "k", change).unwrap();
    change(add(7));
    advance(SECOND / 2).await;
    let replace = Change::Replace {
        value: 1,
        life: SECOND,
    };
    assert_eq!(change(replace), 7);
    advance(SECOND / 2).await;
    assert_eq!(change(Change::None), 1);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_counters_is_bounded_and_what_has_ended_makes_room() {
    let counters = Counters::default();
    let change = |key: &str| counters.change(Account::of("p", 2), key, add(1));
    assert_eq!((change("a"), change("b")), (Ok(1), Ok(1)));
    assert_eq!(change("c"), Err(CounterError::Full));
    assert_eq!(change("b"), Ok(2));
    assert_eq!(
        counters.change(Account::of("p", 2), "c", Change::None),
        Ok(0)
    );
    assert_eq!(counters.change(Account::of("other", 2), "c", add(1)), Ok(1));
    advance(SECOND).await;
    assert_eq!((change("c"), change("d")), (Ok(1), Ok(1)));
    assert_eq!(change("e"), Err(CounterError::Full));
    assert_eq!(change(&"k".repeat(257)), Err(CounterError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn one_client_cannot_make_the_counters_of_others_fail() {
    let counters = Counters::default();
    let change = |host: u8, key: &str, change| {
        let account = Account {
            policy: "p",
            room: 64,
            client: Some([192, 0, 2, host].into()),
        };
        counters.change(account, key, change)
    };
    let fill = |host: u8| {
        let mut keys = (0..64).map(|n| format!("{host}/{n}"));
        keys.find(|key| change(host, key, add(1)).is_err())
    };
    // An eighth of them is left for others.
    assert_eq!(fill(1).as_deref(), Some("1/57"));
    for host in 2..9 {
        assert_eq!(change(host, &format!("{host}"), add(1)), Ok(1), "{host}");
    }
    // Whoever has them may change them, and so may others.
    assert_eq!(change(1, "1/0", add(1)), Ok(2));
    let replace = Change::Replace {
        value: 7,
        life: SECOND,
    };
    assert_eq!(change(2, "1/0", replace), Ok(2));
    // It is charged to whoever began it, and what has ended to nobody.
    assert!(change(1, "1/57", add(1)).is_err());
    advance(SECOND).await;
    assert_eq!(fill(1).as_deref(), Some("1/57"));
    let account = Account::of("p", 64);
    assert_eq!(counters.change(account, "the policy's own", add(1)), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_network_of_ipv6_has_one_share_of_counters() {
    let counters = Counters::default();
    let mut begun = 0;
    for host in 0..64_u16 {
        let account = Account {
            policy: "p",
            room: 64,
            client: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into()),
        };
        let change = counters.change(account, &host.to_string(), add(1));
        begun += usize::from(change.is_ok());
    }
    assert_eq!(begun, 57);
}
