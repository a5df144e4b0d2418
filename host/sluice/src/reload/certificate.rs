//! Certificate of the main listener, which a reload takes up.

use super::Reloader;
use base::blocking::LOADING;
use base::diagnostics::Diagnostics;
use base::tls;
use config::Config;

impl Reloader {
    /// New certificate for new connections; `None` if the process speaks plain TCP now or after a
    /// restart.
    pub(super) async fn certificate(
        &self,
        config: &Config,
        diagnostics: &mut Diagnostics,
    ) -> Option<tls::Certificate> {
        let settings = self.tls.as_ref().and(config.server.tls.clone())?;
        let reading = LOADING.run(move || {
            let mut mistakes = Diagnostics::default();
            let certificate = tls::Certificate::read(&settings, &mut mistakes);
            (certificate, mistakes)
        });
        // A panic was logged and counted where it happened. The old certificate stays in use.
        let (certificate, mistakes) = reading.await.ok()?;
        diagnostics.append(mistakes);
        certificate
    }
}
