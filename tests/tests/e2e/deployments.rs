//! Configurations as they are deployed: each way, three times in a row.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use tempfile::TempDir;

/// A configuration that serves nothing but an echo at the path of its version.
fn config(version: u64) -> String {
    Config::open()
        .set("routes.echo", "paths", json!([format!("/v{version}")]))
        .to_string()
}

fn write(file: &Path, content: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

/// A link that is replaced in one step.
fn point(link: &Path, target: &Path) {
    let aside = link.with_file_name("a new link");
    symlink(target, &aside).unwrap();
    std::fs::rename(aside, link).unwrap();
}

fn serve(folder: &Path, file: &str) -> Command {
    let mut serve = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    serve
        .arg(folder.join(file))
        .arg("--data-dir")
        .arg(folder.join("data"));
    serve
}

/// Puts a version after the other, and wants each to be served.
fn is_taken_up(file: &str, put: fn(&Path, u64)) {
    let folder = TempDir::new().unwrap();
    put(folder.path(), 1);
    let serve = serve(folder.path(), file);
    let gateway = Gateway::launch(serve, folder);
    for version in 2..=4 {
        put(gateway.folder(), version);
        // By an event, and not because the files are looked at now and then.
        assert_eq!(gateway.reloaded(version)["trigger"], "file");
        let mut client = Client::connect(Library::Ws, &gateway, &format!("/v{version}"));
        client.echoes("hello");
    }
}

#[test]
fn a_file_that_is_edited_in_place_is_taken_up_each_time() {
    is_taken_up("sluice.toml", |folder, version| {
        write(&folder.join("sluice.toml"), &config(version));
    });
}

#[test]
fn a_file_that_is_written_and_renamed_is_taken_up_each_time() {
    is_taken_up("sluice.toml", |folder, version| {
        write(&folder.join("sluice.toml.new"), &config(version));
        std::fs::rename(folder.join("sluice.toml.new"), folder.join("sluice.toml")).unwrap();
    });
}

#[test]
fn a_config_map_of_kubernetes_is_taken_up_each_time() {
    is_taken_up("map/sluice.toml", |folder, version| {
        let map = folder.join("map");
        let new = format!("..2026_{version}");
        write(&map.join(&new).join("sluice.toml"), &config(version));
        point(&map.join("..data"), Path::new(&new));
        if version == 1 {
            symlink("..data/sluice.toml", map.join("sluice.toml")).unwrap();
        } else {
            let old = format!("..2026_{}", version - 1);
            std::fs::remove_dir_all(map.join(old)).unwrap();
        }
    });
}

#[test]
fn a_release_that_a_link_leads_to_is_taken_up_each_time() {
    is_taken_up("current/conf/sluice.toml", |folder, version| {
        let release = folder.join(format!("releases/{version}"));
        write(&release.join("conf/sluice.toml"), &config(version));
        point(&folder.join("current"), &release);
    });
}

#[test]
fn a_work_tree_of_git_sync_is_taken_up_each_time() {
    is_taken_up("git/link/sluice.toml", |folder, version| {
        let git = folder.join("git");
        let tree = format!(".worktrees/{version}");
        write(&git.join(&tree).join("sluice.toml"), &config(version));
        point(&git.join("link"), Path::new(&tree));
        if version > 1 {
            std::fs::remove_dir_all(git.join(format!(".worktrees/{}", version - 1))).unwrap();
        }
    });
}

#[test]
fn a_folder_that_is_replaced_by_one_of_its_name_is_taken_up_each_time() {
    is_taken_up("conf/deep/sluice.toml", |folder, version| {
        write(&folder.join("conf.new/deep/sluice.toml"), &config(version));
        let _ = std::fs::remove_dir_all(folder.join("conf.old"));
        let _ = std::fs::rename(folder.join("conf"), folder.join("conf.old"));
        std::fs::rename(folder.join("conf.new"), folder.join("conf")).unwrap();
    });
}

#[test]
fn a_file_whose_folder_appears_later_is_taken_up_each_time() {
    let folder = TempDir::new().unwrap();
    write(&folder.path().join("sluice.toml"), &config(1));
    let serve = serve(folder.path(), "sluice.toml");
    let gateway = Gateway::launch(serve, folder);
    for version in 2..=4 {
        let secret = format!("later{version}/keys/secret");
        let keys = format!("\n[key_sets.main]\nsecret_file = \"{secret}\"\n");
        gateway.replace("sluice.toml", config(version) + &keys);
        gateway.output().find("the refusal", |line| {
            let refused = line.contains("nothing has changed") && line.contains(&secret);
            refused.then_some(())
        });
        write(&gateway.folder().join(&secret), &"s".repeat(32));
        assert_eq!(gateway.reloaded(version)["trigger"], "file");
        let mut client = Client::connect(Library::Ws, &gateway, &format!("/v{version}"));
        client.echoes("hello");
    }
}

#[test]
fn where_there_are_no_events_files_are_polled_and_that_is_said() {
    let folder = TempDir::new().unwrap();
    write(&folder.path().join("sluice.toml"), &config(1));
    let plain = serve(folder.path(), "sluice.toml");
    let take_away = "echo 0 > /proc/sys/user/max_inotify_instances";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "sh", "-c"]);
    let possible = Command::new(unshare.get_program())
        .args(unshare.get_args())
        .arg(take_away)
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not tried: this machine gives no namespace without inotify");
        return;
    }
    unshare
        .arg(format!("{take_away} && exec \"$0\" \"$@\""))
        .arg(plain.get_program())
        .args(plain.get_args())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    let gateway = Gateway::launch(unshare, folder);
    gateway.output().find("that files are polled", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let said = event["message"].as_str()?.ends_with("they are polled");
        (said && event["level"] == "WARN").then_some(())
    });
    for version in 2..=4 {
        gateway.replace("sluice.toml", config(version));
        gateway.reloaded(version);
    }
}
