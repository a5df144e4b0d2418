//! What a reload would change.

use tokio::sync::Mutex;

use super::Reloader;
use super::files::SeenFiles;
use crate::schema::ConfigDiff;
use base::blocking::LOADING;
use base::text;
use config::OptionsDiff;

/// Held during a preview, which reads every file of the configuration.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Maximum length of a report, in bytes.
const MAX_REPORT: usize = 16 * 1024;

impl Reloader {
    /// Compares the configuration as it is written now with the one that serves. Nothing is loaded
    /// and nothing changes.
    pub(crate) async fn preview(&self) -> ConfigDiff {
        let _turn = ONE_AT_A_TIME.lock().await;
        let (served, options) = {
            let state = self.state.lock().await;
            (state.served.clone(), state.options.clone())
        };
        let source = self.source.clone();
        let (config, diagnostics) = match LOADING.run(move || source.read()).await {
            Ok(Ok(read)) => read,
            Ok(Err(report)) => return unreadable(&report.to_string()),
            Err(error) => return unreadable(&format!("the configuration cannot be read: {error}")),
        };
        let seen = SeenFiles::of(&config).await;
        let changed_files = seen.differing(&served);
        let diff = options.differences(&config.options);
        let report = diagnostics.finish().err().map(|report| report.to_string());
        ConfigDiff {
            changed_files: changed_files
                .iter()
                .map(|file| text::clean(&file.to_string_lossy(), 4096))
                .collect(),
            needs_restart: self
                .needs_restart(&config)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            report: report.map(|report| text::clip(&report, MAX_REPORT)),
            ..ConfigDiff::of(diff)
        }
    }
}

fn unreadable(report: &str) -> ConfigDiff {
    ConfigDiff {
        report: Some(text::clip(report, MAX_REPORT)),
        ..ConfigDiff::of(OptionsDiff::default())
    }
}
