//! `sluice policy dev`: a project that is built, tested and served at every change.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sluice_tests::command;
use sluice_tests::eventually;
use sluice_tests::output::Output;
use sluice_tests::project::{edit, place, run, succeeds, workshop};

/// The command, while it runs.
struct Dev {
    child: Child,
    output: Output,
}

impl Dev {
    fn start(project: &Path, listen: &str) -> Self {
        let mut dev = command::sluice(&["policy", "dev", ".", "--listen", listen]);
        dev.current_dir(project);
        Self::of(dev)
    }

    fn of(mut dev: Command) -> Self {
        let mut child = dev
            .env("CARGO_TARGET_DIR", workshop().join("target"))
            .env("CARGO_NET_OFFLINE", "true")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command");
        let output = Output::default();
        output.follow(child.stdout.take().expect("its output"));
        output.follow(child.stderr.take().expect("its errors"));
        Self { child, output }
    }

    /// Waits until it has said this so many times.
    fn says(&self, text: &str, times: usize) {
        let mut said = 0;
        let found = self.output.find(text, |line| {
            said += usize::from(line.contains(text));
            (said >= times).then_some(())
        });
        assert!(found.is_some(), "{text}: {}", self.output.text());
    }
}

impl Dev {
    fn ends_by(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        self.child.wait().expect("its end");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // One that has ended needs no end.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn a_project_is_tested_and_served_again_at_every_change_until_it_is_told_to_stop() {
    let place = place("dev");
    succeeds(&["new", "mine"], &place);
    let project = place.join("mine");
    let listen = free_address();
    let dev = Dev::start(&project, &listen);
    dev.says("3 passed, 0 failed", 1);
    let line = dev.output.find("a line to copy", |line| {
        line.contains(" stream ./build/tone.wav ")
            .then(|| line.to_owned())
    });
    let line = line.expect("a line to copy");

    // The line works as it is copied, once the gateway listens.
    let speak = || run(Command::new("sh").args(["-c", &line]), &project);
    let done = eventually("a stream", || {
        let done = speak();
        (done.status != Some(4)).then_some(done)
    });
    assert_eq!(done.status, Some(0), "{done:?}");

    // A mistake is told, and the earlier component goes on.
    edit(&project.join("src/lib.rs"), "Ok(()),", "Ok(42),");
    dev.says("src/lib.rs has changed", 1);
    dev.says("`mine` does not build", 1);
    assert_eq!(speak().status, Some(0));

    // Another rule fails its cases, and is served all the same: who tries it sees why.
    edit(
        &project.join("src/lib.rs"),
        "Ok(42),",
        "Err(Rejection::new(\"closed\", \"closed today\")),",
    );
    dev.says("2 passed, 1 failed", 1);
    let refused = eventually("a refusal", || {
        let done = speak();
        (done.status == Some(3)).then_some(done)
    });
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(told.contains("closed today"), "{told}");

    // A terminal that is closed ends it, and its gateway with it.
    dev.ends_by(Signal::HUP);
    let _taken = TcpListener::bind(&listen).expect("a free port");

    // Whoever has the port is not taken for the gateway.
    let dev = Dev::start(&project, &listen);
    dev.says(&format!("no gateway can listen on {listen}"), 1);
    dev.says("waiting for a change", 1);
    assert!(!dev.output.text().contains("speak to it"));
}

#[test]
fn it_can_be_stopped_while_it_builds() {
    let place = place("dev-building");
    succeeds(&["new", "mine"], &place);
    let project = place.join("mine");
    // A compiler that takes for ever.
    let programs = place.join("programs");
    std::fs::create_dir(&programs).unwrap();
    let compiler = programs.join("cargo");
    std::fs::write(&compiler, "#!/bin/sh\n: > building\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&compiler, Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut dev = command::sluice(&["policy", "dev", ".", "--listen", &free_address()]);
    dev.current_dir(&project)
        .env_remove("CARGO")
        .env("PATH", format!("{}:{path}", programs.display()));
    let dev = Dev::of(dev);
    eventually("it builds", || {
        project.join("building").exists().then_some(())
    });
    dev.ends_by(Signal::TERM);
}

#[test]
fn the_line_to_copy_has_a_token_for_the_policy_that_was_named() {
    let place = place("dev-named");
    let project = with_a_builtin_policy(&place);
    // Whatever was built: the policy that serves is another one.
    std::fs::create_dir(project.join("build")).unwrap();
    std::fs::write(project.join("build/mine.wasm"), "").unwrap();
    let another = "[key_sets.another]\ngenerate = true\n\n[key_sets.dev]";
    edit(&project.join("sluice.toml"), "[key_sets.dev]", another);
    let listen = free_address();
    let mut dev = command::sluice(&[
        "policy", "dev", ".", "--listen", &listen, "--policy", "mine",
    ]);
    dev.current_dir(&project);
    let dev = Dev::of(dev);
    dev.says("--key-set dev)", 1);
}

/// A project whose section names a built-in policy, for what does not depend on the component.
fn with_a_builtin_policy(place: &Path) -> PathBuf {
    succeeds(&["new", "mine", "--lang", "js"], place);
    let project = place.join("mine");
    let config = project.join("sluice.toml");
    edit(
        &config,
        "component = \"build/mine.wasm\"",
        "component = \"builtin:sample-rate\"",
    );
    edit(&config, "tenants = [\"dev\"]", "");
    edit(
        &config,
        "on_connect = [\"auth\", \"mine\"]",
        "on_connect = [\"auth\"]\non_handshake = [\"mine\"]",
    );
    project
}

#[test]
fn a_gateway_says_how_to_stream_to_it() {
    let place = place("greeting");
    let project = with_a_builtin_policy(&place);
    let listen = free_address();
    let mut serve = command::sluice(&["serve", "--config", "sluice.toml", "--listen", &listen]);
    let mut child = serve.current_dir(&project).spawn().expect("a gateway");
    let output = Output::default();
    output.follow(child.stdout.take().expect("its output"));
    output.follow(child.stderr.take().expect("its errors"));
    let said = output.find("a line", |line| {
        line.contains(" stream FILE.wav ").then(|| line.to_owned())
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let said = said.unwrap_or_else(|| panic!("{}", output.text()));
    assert!(
        said.contains(&format!("--url ws://{listen}/try/demo")),
        "{said}"
    );
    assert!(
        said.contains(" token --config sluice.toml --key-set dev"),
        "{said}"
    );
}
