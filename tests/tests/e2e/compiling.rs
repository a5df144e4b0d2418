//! Components that take too much to compile.

use serde_json::json;
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;

const GUEST: &str = include_str!("../../guests/connect.wat");

/// A policy that could be asked, beside functions that nobody calls: many small ones take time, and
/// few large ones take memory as well.
fn costly(functions: usize, blocks: usize) -> String {
    let block = "(block (br_if 0 (local.get 1)) (local.set 1 (i32.add (local.get 0) (local.get 2)))
        (local.set 2 (i32.load (local.get 1))) (i32.store (local.get 2) (local.get 1)))\n";
    let function = format!(
        "(func (param i32) (local i32 i32) {})\n",
        block.repeat(blocks)
    );
    let memory = "(memory (export \"memory\") 1)";
    let all = format!("{memory}\n{}", function.repeat(functions));
    GUEST.replace(memory, &all).replace("BODY", "(unreachable)")
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component")
}

fn with_admin() -> Config {
    Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// The main job with a policy of the file `costly.wasm`, which may take little.
fn config() -> Config {
    with_admin()
        .set("policies.costly", "component", json!("costly.wasm"))
        .set("policies.costly", "compile_memory", json!("256MiB"))
        .set("policies.costly", "compile_time", json!("1s"))
        .set("routes.ingest", "on_connect", json!(["auth", "costly"]))
}

fn check(config: &Config, component: &[u8]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config.to_string()).unwrap();
    std::fs::write(folder.path().join("costly.wasm"), component).unwrap();
    command::check(&file)
}

/// A report without its folds.
fn unfolded(report: &str) -> String {
    let words = report.split(|c: char| c.is_whitespace() || c == '│');
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_component_that_takes_too_long_or_too_much_to_compile_is_named_with_its_limit() {
    let plenty = config().set("policies.costly", "compile_time", json!("10min"));
    for (config, functions, blocks, said, help) in [
        (
            config(),
            20_000,
            20,
            "takes more processor time than its limit of 1s",
            "raise `compile_time`",
        ),
        (
            plenty,
            4,
            20_000,
            "takes more memory than its limit of 256.0 MiB",
            "raise `compile_memory`",
        ),
    ] {
        let done = check(&config, &component(&costly(functions, blocks)));
        assert_eq!(done.status, Some(1), "{done:?}");
        let report = unfolded(&done.stderr);
        for said in ["policy \"costly\" does not load", said, help] {
            assert!(report.contains(said), "{said}: {done:?}");
        }
    }
}

#[test]
fn what_a_component_imports_is_looked_at_before_it_is_compiled() {
    let imports = "(component (import \"sluice:policy/sessions@0.1.0\" (instance))
        (import \"acme:rockets/launch@1.0.0\" (instance))";
    let text = costly(20_000, 20).replacen("(component", imports, 1);
    let done = check(&config(), &component(&text));
    assert_eq!(done.status, Some(1), "{done:?}");
    let report = unfolded(&done.stderr);
    for said in [
        "imports sluice:policy/sessions@0.1.0, which it is not granted",
        "imports acme:rockets/launch@1.0.0, which this host does not offer",
    ] {
        assert!(report.contains(said), "{said}: {done:?}");
    }
    assert!(!report.contains("compiling it takes"), "{done:?}");
}

#[test]
fn a_reload_that_is_refused_for_what_compiling_takes_leaves_no_memory_behind() {
    let gateway = Gateway::start(&with_admin());
    // Between its first requests it grows to its usual size.
    assert_eq!(gateway.admin("GET /metrics").0, 200);
    let before = gateway.memory();
    gateway.replace("costly.wasm", component(&costly(4, 20_000)));
    let costly = config().set("policies.costly", "compile_time", json!("10min"));
    gateway.replace("sluice.toml", costly.to_string());
    for _ in 0..2 {
        let (status, report) = gateway.admin("POST /reload");
        assert_eq!(status, 422, "{report}");
        let report = unfolded(&report);
        for said in [
            "policy \"costly\" does not load",
            "its limit of 256.0 MiB",
            "`compile_memory`",
        ] {
            assert!(report.contains(said), "{said}: {report}");
        }
    }
    // Here it takes more than its limit, wherever it is compiled: see above.
    let (peak, after) = (gateway.peak_memory(), gateway.memory());
    assert!(peak < before + (128 << 20), "{before}, at most {peak}");
    assert!(after < before + (64 << 20), "{before}, then {after}");
}
