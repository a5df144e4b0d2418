//! `[routes.NAME]`

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Reader;
use super::names::Names;
use super::paths::Paths;
use crate::settings::Route;
use crate::toml::{Section, Sections, Spanned};
use base::diagnostics::Place;
use session::handshake::HandshakeMode;

const HANDSHAKES: [(&str, HandshakeMode); 2] = [
    ("ingest.v1", HandshakeMode::IngestV1),
    ("none", HandshakeMode::None),
];

impl Reader<'_> {
    pub(super) fn routes(
        &mut self,
        sections: Sections<'_>,
        names: &Names,
    ) -> BTreeMap<String, Route> {
        // In the order of the file, so that of two paths in conflict the later
        // one is the mistake.
        let mut sections: Vec<_> = sections.into_iter().collect();
        sections.sort_by_key(|(_, section)| section.place.span().start);
        let mut paths = Paths::default();
        sections
            .into_iter()
            .filter_map(|(name, section)| Some((name, self.route(section, names, &mut paths)?)))
            .collect()
    }

    fn route(
        &mut self,
        mut section: Section<'_>,
        names: &Names,
        taken: &mut Paths,
    ) -> Option<Route> {
        let place = section.place.clone();
        let paths = self.paths(&mut section, taken);
        let handshake_place = section.place_of("handshake");
        let handshake = section
            .choice("handshake", &HANDSHAKES)
            .map_or(HandshakeMode::IngestV1, |choice| choice.value);
        let on_connect_place = section.place_of("on_connect");
        let on_connect = self.chain(&mut section, "on_connect", names);
        let on_handshake_place = section.place_of("on_handshake");
        let on_handshake = self.chain(&mut section, "on_handshake", names);
        if handshake == HandshakeMode::None && !on_handshake.is_empty() {
            self.unasked(&section, &on_handshake_place, &handshake_place);
        }
        let on_frames_place = section.place_of("on_frames");
        let on_frames = self.chain(&mut section, "on_frames", names);
        let on_close_place = section.place_of("on_close");
        let on_close = self.chain(&mut section, "on_close", names);
        let metering = self.metering(&mut section);
        let help = "write the name of a section [upstreams.NAME]: `upstream = \"recordings\"`";
        let upstream = section.required("upstream", help);
        if let Some(upstream) = &upstream {
            self.check_reference(upstream, "upstream", "upstreams", &names.upstreams);
        }
        let limits = self.limits(&mut section);
        let origins = self.origins(&mut section);
        let subprotocols = self.subprotocols(&mut section);
        let rate_limit = self.rate_limit(&mut section, &paths);
        section.finish();
        Some(Route {
            paths,
            handshake,
            on_connect,
            on_handshake,
            on_frames,
            on_close,
            metering,
            upstream: upstream?.value,
            limits: Arc::new(limits),
            origins,
            subprotocols,
            rate_limit,
            place,
            on_connect_place,
            on_handshake_place,
            on_frames_place,
            on_close_place,
        })
    }

    fn paths(&mut self, section: &mut Section<'_>, taken: &mut Paths) -> Vec<String> {
        let place = section.place_of("paths");
        let before = self.toml.diagnostics().len();
        let paths = section.texts("paths");
        if paths.is_empty() && self.toml.diagnostics().len() == before {
            let message = format!("{} has no paths, so no client can reach it", section.title);
            self.error(
                &place,
                message,
                "write `paths = [\"/ws/meetings/{meeting_id}\"]`",
            );
        }
        paths
            .into_iter()
            .filter_map(|path| taken.take(self, &section.title, path))
            .collect()
    }

    fn chain(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        names: &Names,
    ) -> Vec<String> {
        let chain: Vec<Spanned<String>> = section.distinct(key);
        for policy in &chain {
            self.check_reference(policy, "policy", "policies", &names.policies);
        }
        chain.into_iter().map(|policy| policy.value).collect()
    }

    fn unasked(&mut self, section: &Section<'_>, place: &Place, handshake: &Place) {
        let message = format!(
            "{} has no handshake, so its `on_handshake` policies would never be called",
            section.title
        );
        let help = "write `handshake = \"ingest.v1\"`, or move the policies to `on_connect`";
        self.error(place, message, help)
            .label("never called")
            .also(handshake, "no handshake");
    }
}
