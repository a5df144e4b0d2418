//! The console in Chromium.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::output::Output;

/// Page of the console. Dropping it closes the browser, and fails the test if the page has thrown an
/// error or has tried what its policy forbids.
pub struct Page {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Output,
    asked: usize,
    _folder: TempDir,
}

/// Part of a page.
#[derive(Debug, Clone)]
pub struct Part(Value);

/// What has this role and this name for a screen reader.
pub fn role(role: &str, name: &str) -> Part {
    Part(json!({"role": role, "name": name}))
}

/// Field with this label.
pub fn label(label: &str) -> Part {
    Part(json!({"label": label}))
}

/// What has this selector in CSS.
pub fn css(selector: &str) -> Part {
    Part(json!({"selector": selector}))
}

/// What has this selector in CSS, with this text in it.
pub fn saying(selector: &str, text: &str) -> Part {
    Part(json!({"selector": selector, "text": text}))
}

impl Page {
    /// Opens a view of a gateway's console, by what is after `#` in its address.
    ///
    /// # Panics
    /// If the browser cannot be started.
    pub fn open(gateway: &Gateway, view: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/console.mjs");
        let mut command = Command::new("node");
        let pipes = command
            .arg(program)
            .env("FOLDER", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}: run `make setup` first")
        });
        let answers = Output::default();
        answers.follow(child.stdout.take().expect("piped"));
        answers.follow(child.stderr.take().expect("piped"));
        let commands = child.stdin.take();
        let mut page = Self {
            child,
            commands,
            answers,
            asked: 0,
            _folder: folder,
        };
        assert_eq!(page.answer(), "ready");
        let admin = gateway.admin_address();
        let url = format!("http://127.0.0.1:{}/console/#/{view}", admin.port());
        page.ask(json!({"do": "open", "url": url}));
        page
    }

    /// Goes to another view.
    pub fn go(&mut self, view: &str) {
        self.ask(json!({"do": "evaluate", "script": format!("location.hash = '#/{view}'")}));
    }

    /// Clicks.
    pub fn click(&mut self, part: &Part) {
        self.with("click", part, json!({}));
    }

    /// Types a text into a field, instead of what is in it.
    pub fn fill(&mut self, part: &Part, value: &str) {
        self.with("fill", part, json!({"value": value}));
    }

    /// Chooses an option by its value.
    pub fn choose(&mut self, part: &Part, value: &str) {
        self.with("choose", part, json!({"value": value}));
    }

    /// Chooses a file.
    pub fn choose_file(&mut self, part: &Part, path: &Path) {
        self.with("file", part, json!({"path": path}));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        self.ask(json!({"do": "press", "key": key}));
    }

    /// Waits until it is there to be seen.
    pub fn wait(&mut self, part: &Part) {
        self.with("wait", part, json!({}));
    }

    /// Waits until it is not there.
    pub fn wait_gone(&mut self, part: &Part) {
        self.with("gone", part, json!({}));
    }

    /// Its text, once it is there.
    pub fn text(&mut self, part: &Part) -> String {
        let text = self.with("text", part, json!({}));
        text.as_str().expect("a text").to_owned()
    }

    /// Number of such parts.
    pub fn count(&mut self, part: &Part) -> u64 {
        let count = self.with("count", part, json!({}));
        count.as_u64().expect("a number")
    }

    /// What has the focus: its element, and its text.
    pub fn focused(&mut self) -> String {
        let focused = self.ask(json!({"do": "focused"}));
        focused.as_str().expect("a text").to_owned()
    }

    /// Waits until a script returns something true.
    pub fn until(&mut self, script: &str) {
        self.ask(json!({"do": "until", "script": script}));
    }

    /// Result of a script.
    pub fn evaluate(&mut self, script: &str) -> Value {
        self.ask(json!({"do": "evaluate", "script": script}))
    }

    /// Clicks, and waits for the download that this begins. Returns its name and the file.
    pub fn download(&mut self, part: &Part) -> (String, PathBuf) {
        let download = self.with("download", part, json!({}));
        let text = |name: &str| download[name].as_str().expect("a text").to_owned();
        (text("name"), text("path").into())
    }

    /// Makes the window this large, in `light` or `dark`.
    pub fn look(&mut self, width: u32, height: u32, scheme: &str) {
        self.ask(json!({"do": "look", "width": width, "height": height, "scheme": scheme}));
    }

    /// Fails if axe-core finds something that keeps people with disabilities from using the page.
    ///
    /// # Panics
    /// With all that it finds.
    pub fn audit(&mut self) {
        let found = self.ask(json!({"do": "audit"}));
        assert_eq!(found, json!([]), "{found:#}");
    }

    /// Saves a picture of the page, if the environment names a folder for them.
    pub fn shot(&mut self, name: &str) {
        if let Some(folder) = std::env::var_os("SLUICE_SHOTS") {
            let path = Path::new(&folder).join(format!("{name}.png"));
            self.ask(json!({"do": "shot", "path": path}));
        }
    }

    fn with(&mut self, what: &str, part: &Part, more: Value) -> Value {
        let mut command = json!({"do": what});
        for fields in [part.0.clone(), more] {
            let Value::Object(fields) = fields else {
                continue;
            };
            command.as_object_mut().expect("an object").extend(fields);
        }
        self.ask(command)
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "as it is written at each call"
    )]
    fn ask(&mut self, command: Value) -> Value {
        let commands = self.commands.as_mut().expect("the browser is open");
        writeln!(commands, "{command}").expect("the browser takes commands");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let asked = self.asked;
        let mut place = 0;
        let line = self.answers.find("an answer of the browser", |line| {
            place += 1;
            (place > asked).then(|| line.to_owned())
        });
        self.asked += 1;
        let line = line.unwrap_or_else(|| panic!("{}", self.answers.text()));
        match serde_json::from_str::<Value>(&line) {
            Ok(mut answer) if answer["error"].is_null() => answer["value"].take(),
            Ok(answer) => panic!("{}", answer["error"].as_str().unwrap_or_default()),
            Err(_) => panic!("the browser is broken:\n{}", self.answers.wait_for_end()),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let problems = match failed {
            true => Value::Null,
            false => self.ask(json!({"do": "problems"})),
        };
        // It closes the browser when nobody can tell it anything more.
        self.commands = None;
        if failed {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        assert!(failed || problems == json!([]), "{problems:#}");
    }
}
