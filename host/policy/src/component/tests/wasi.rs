//! Guests that were built with WASI, and what they find of it.

use super::*;
use crate::settings::Wasi;

fn guest(body: &str) -> Vec<u8> {
    let text = include_str!("../../../../../tests/guests/wasi.wat");
    wat::parse_str(text.replace("BODY", body)).unwrap()
}

/// What becomes of a guest that runs `body` and then accepts.
async fn run(body: &str) -> Verdict {
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load_with(&guest(body), Wasi::Stub).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    policy.ask(guard.session(), &Question::Connect).await
}

async fn traps(body: &str, said: &str) {
    let ended = run(body).await;
    let Verdict::Failed(Failure::Trap(trap)) = &ended else {
        panic!("{said}: {ended:?}")
    };
    assert!(trap.contains(said), "{trap}");
}

#[tokio::test]
async fn without_a_word_of_the_operators_it_does_not_load() {
    let loaded = load_with(&guest(""), Wasi::None).await;
    assert!(loaded.policy.is_none());
    for said in [
        "policy \"p\" imports wasi:cli/environment@0.2.6 (and 14 more of WASI)",
        "in [policies.p]",
        "wasi = \"stub\"",
    ] {
        assert!(loaded.report.contains(said), "{said}: {}", loaded.report);
    }
}

#[tokio::test]
async fn other_versions_and_packages_are_not_offered() {
    for import in [
        "wasi:cli/environment@0.3.0",
        "wasi:http/types@0.2.6",
        "wasi:clicks/environment@0.2.6",
    ] {
        let text = format!("(component (import \"{import}\" (instance)))");
        let loaded = load_with(&wat::parse_str(text).unwrap(), Wasi::Stub).await;
        assert!(loaded.policy.is_none());
        let said = format!("imports {import}, which this host does not offer");
        assert!(loaded.report.contains(&said), "{}", loaded.report);
    }
}

#[tokio::test]
async fn there_is_no_environment_no_file_and_no_network() {
    let body = "
        (i32.store offset=4 (i32.const 16) (i32.const 7))
        (call $environment (i32.const 16))
        (call $must (i32.eqz (i32.load offset=4 (i32.const 16))))
        (i32.store offset=4 (i32.const 16) (i32.const 7))
        (call $directories (i32.const 16))
        (call $must (i32.eqz (i32.load offset=4 (i32.const 16))))
        ;; An error, and of all errors that access is denied.
        (call $tcp-socket (i32.const 0) (i32.const 16))
        (call $must (i32.load8_u (i32.const 16)))
        (call $must (i32.eq (i32.const 1) (i32.load8_u offset=4 (i32.const 16))))";
    assert_eq!(run(body).await, Verdict::Accept);
}

#[tokio::test]
async fn what_is_printed_goes_nowhere_and_nothing_can_be_read() {
    let body = "
        (local.set $a (call $stdout))
        (i32.store8 (i32.const 16) (i32.const 7))
        (call $check-write (local.get $a) (i32.const 16))
        (call $must (i32.eqz (i32.load8_u (i32.const 16))))
        (call $must (i64.eq (i64.const 4096) (i64.load offset=8 (i32.const 16))))
        (i32.store8 (i32.const 16) (i32.const 7))
        (call $write (local.get $a) (i32.const 1024) (i32.const 1024) (i32.const 16))
        (call $must (i32.eqz (i32.load8_u (i32.const 16))))
        (call $drop-output (local.get $a))
        ;; An error, and of all errors that the input is closed.
        (call $read (call $stdin) (i64.const 100) (i32.const 16))
        (call $must (i32.load8_u (i32.const 16)))
        (call $must (i32.eq (i32.const 1) (i32.load8_u offset=4 (i32.const 16))))";
    assert_eq!(run(body).await, Verdict::Accept);
}

#[tokio::test]
async fn what_was_printed_before_a_trap_comes_after_the_place_of_the_trap() {
    let body = "
        (i32.store (i32.const 1024) (i32.const 0x0a736579)) ;; \"yes\\n\"
        (call $write (call $stdout) (i32.const 1024) (i32.const 4) (i32.const 16))
        (call $must (i32.const 0))";
    traps(body, "executed, in must; it printed last: yes").await;
}

#[tokio::test]
async fn nobody_sleeps() {
    let body = "
        (local.set $a (call $sleep (i64.const 0x7fffffffffffffff)))
        (call $block (local.get $a))
        (call $must (call $ready (local.get $a)))
        (local.set $b (call $sleep (i64.const 0x7fffffffffffffff)))
        (i32.store (i32.const 32) (local.get $a))
        (i32.store offset=4 (i32.const 32) (local.get $b))
        (call $poll (i32.const 32) (i32.const 2) (i32.const 16))
        (call $must (i32.eq (i32.const 2) (i32.load offset=4 (i32.const 16))))
        (call $must (i32.eq (i32.const 1) (i32.load offset=4 (i32.load (i32.const 16)))))
        ;; What was lent to all of these can be given back.
        (call $drop-pollable (local.get $a))
        (call $drop-pollable (local.get $b))";
    assert_eq!(run(body).await, Verdict::Accept);
}

#[tokio::test]
async fn to_wait_for_ever_is_to_run_out_of_time() {
    let body =
        "(local.set $a (call $sleep (i64.const 1))) (loop (call $block (local.get $a)) (br 0))";
    assert_eq!(
        run(body).await,
        Verdict::Failed(Failure::Limit(Limit::Time(Duration::from_millis(50))))
    );
}

#[tokio::test]
async fn its_clocks_are_those_of_every_policy() {
    let before = session::registry::unix_ms() / 1000;
    let body = format!(
        "(call $time (i32.const 16))
         (call $must (i64.ge_u (i64.load (i32.const 16)) (i64.const {before})))
         (call $must (i64.le_u (i64.load (i32.const 16)) (i64.const {})))
         (call $must (i64.lt_u (call $elapsed) (i64.const 60000000000)))",
        before + 60
    );
    assert_eq!(run(&body).await, Verdict::Accept);
}

#[tokio::test]
async fn randomness_is_random_and_comes_in_small_pieces() {
    let body = "
        (call $must (i64.ne (call $random-u64) (call $random-u64)))
        (call $random-bytes (i64.const 4096) (i32.const 16))
        (call $must (i32.eq (i32.const 4096) (i32.load offset=4 (i32.const 16))))
        (local.set $a (i32.load (i32.const 16)))
        (call $must (i64.ne (i64.load (local.get $a)) (i64.load offset=8 (local.get $a))))";
    assert_eq!(run(body).await, Verdict::Accept);
    for many in ["4097", "-1"] {
        let body = format!("(call $random-bytes (i64.const {many}) (i32.const 16))");
        traps(&body, "more than 4096 random bytes at once").await;
    }
}

#[tokio::test]
async fn to_exit_is_to_fail() {
    for status in [0, 1] {
        let body = format!("(call $exit (i32.const {status}))");
        traps(&body, "the guest wants to exit").await;
    }
}

#[tokio::test]
async fn what_a_guest_holds_and_hands_over_is_bounded_here_too() {
    traps(
        "(loop (drop (call $stdout)) (br 0))",
        "store handle limit exceeded",
    )
    .await;
    let body = "(call $write (call $stdout) (i32.const 0) (i32.const 400000) (i32.const 16))";
    assert_eq!(
        run(body).await,
        Verdict::Failed(Failure::Limit(Limit::HostcallFuel(64 << 10)))
    );
}

#[tokio::test]
async fn a_type_that_grows_without_end_is_no_type_of_wasis() {
    // Each record has the one before it four times.
    let records: String = (1..=7)
        .map(|n| {
            let fields: String = (0..4)
                .map(|f| format!("(field \"f{f}\" $e{})", n - 1))
                .collect();
            format!("(type $r{n} (record {fields})) (export \"r{n}\" (type $e{n} (eq $r{n})))")
        })
        .collect();
    let huge = format!(
        "(type $r0 (record (field \"n\" u8))) (export \"r0\" (type $e0 (eq $r0))) {records}
         (export \"get-environment\" (func (result $e7)))"
    );
    let text = include_str!("../../../../../tests/guests/wasi.wat")
        .replace(
            "(export \"get-environment\" (func (result (list (tuple string string)))))",
            &huge,
        )
        .replace("BODY", "(call $environment (i32.const 16))");
    let loaded = load_with(&wat::parse_str(text).unwrap(), Wasi::Stub).await;
    let policy = loaded.policy.expect(&loaded.report);
    let guard = start(&loaded.registry, "s");
    let Verdict::Failed(Failure::Trap(trap)) =
        policy.ask(guard.session(), &Question::Connect).await
    else {
        panic!("it was answered")
    };
    assert!(trap.contains("a type that is too large"), "{trap}");
}
