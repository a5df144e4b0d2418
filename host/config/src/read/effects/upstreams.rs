//! Options of upstreams.

use crate::read::Reader;
use crate::settings::Config;
use session::handshake::HandshakeMode;
use upstream::settings::Upstream;
use upstream::websocket::{OnLoss, Promise};

impl Reader<'_> {
    pub(super) fn check_upstream_options(
        &mut self,
        name: &str,
        upstream: &Upstream,
        config: &Config,
    ) {
        let Upstream::WebSocket(backend) = upstream else {
            return;
        };
        let title = format!("[upstreams.{name}]");
        let mut routes = config.routes.values();
        let asks =
            routes.any(|route| route.upstream == name && route.handshake != HandshakeMode::None);
        let mut routes = config.routes.values();
        if !asks && backend.receipts != Promise::None && routes.any(|route| route.upstream == name)
        {
            let why = "no route to it has a handshake, in which clients ask for receipts";
            let help = "leave it out, or write `handshake = \"ingest.v1\"` in the route";
            self.ineffective(&title, "receipts", why, help);
        }
        if let OnLoss::Hold(hold) = &backend.on_loss
            && hold.file > hold.files
        {
            let why = "`hold_files` is less, for the files of all streams together";
            let help = "write less, or raise `hold_files`";
            self.ineffective(&title, "hold_file", why, help);
        }
    }
}
