//! Pages of a policy's memory that were swapped out do not come back in another instance.

use serde_json::json;
use sluice_tests::client::{Client, Library};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::LittleMemory;

const GUEST: &str = include_str!("../../guests/connect.wat");
/// Bytes of memory that the gateway has.
const MEMORY: usize = 96 << 20;
/// Bytes that a guest writes to: so many more that most of them are swapped out while it runs.
const WRITTEN: usize = 192 << 20;

/// A guest that fails if there is anything in its memory, and then writes to every page.
fn dirty() -> Vec<u8> {
    let pages = WRITTEN / (64 << 10);
    let body = format!(
        "(local i32)
        (loop $look
          (if (i64.ne (i64.load offset=8 (local.get 1)) (i64.const 0)) (then (unreachable)))
          (local.set 1 (i32.add (local.get 1) (i32.const 4096)))
          (br_if $look (i32.lt_u (local.get 1) (i32.const {WRITTEN}))))
        (local.set 1 (i32.const 0))
        (loop $write
          (i64.store offset=8 (local.get 1) (i64.const -1))
          (local.set 1 (i32.add (local.get 1) (i32.const 4096)))
          (br_if $write (i32.lt_u (local.get 1) (i32.const {WRITTEN}))))
        (call $drop (local.get 0)) (i32.const 0)"
    );
    // In one line: the comment above the component names the place as well.
    let guest = GUEST.replace("BODY", &body.replace('\n', " "));
    let guest = guest.replace(
        "(memory (export \"memory\") 1)",
        &format!("(memory (export \"memory\") {pages})"),
    );
    wat::parse_str(guest).expect("a component")
}

#[test]
fn what_a_guest_wrote_and_was_swapped_out_is_not_there_for_the_next_one() {
    let Some(little) = LittleMemory::new(MEMORY) else {
        return;
    };
    let config = Config::open()
        .set("policies.dirty", "component", json!("dirty.wasm"))
        .set("policies.dirty", "max_memory", json!("200MiB"))
        .set("policies.dirty", "timeout", json!("10min"))
        .set("routes.echo", "on_connect", json!(["dirty"]))
        .echo_limit("admission_timeout", "10min");
    let gateway = Gateway::start_with_files_as(&config, &[("dirty.wasm", &dirty())], |command| {
        little.within(&command)
    });
    assert!(little.has(gateway.id()));
    let said = gateway.output().find("that there is swap", |line| {
        line.contains("reset the slow way").then_some(())
    });
    said.expect("the gateway runs");
    for _ in 0..4 {
        let mut client = Client::connect(Library::Ws, &gateway, "/echo");
        client.echoes("admitted");
    }
}
