//! `[signers.NAME]`

use std::collections::BTreeMap;

use super::Reader;
use crate::toml::{Section, Sections, Spanned};
use base::files::text;
use policy::settings::{Component, Policy};
use policy::signature::{self, KeyError, Signatures, Signer};

impl Reader<'_> {
    /// Reads those whose signatures count. A section that is wrong is a mistake, and no reason to ask
    /// for no signatures.
    pub(super) fn signers(&mut self, sections: Sections<'_>) -> Signatures {
        if sections.is_empty() {
            return Signatures::NotAsked;
        }
        let signers = self.each(sections, Self::signer);
        Signatures::Of(signers.into_values().collect())
    }

    fn signer(&mut self, mut section: Section<'_>) -> Option<Signer> {
        let name = section.name.to_owned();
        let help = "write `public_key_file = \"release.pub\"`: the key that `cosign generate-key-pair` or \
                    `openssl pkey -pubout` wrote";
        section.demand("public_key_file", help);
        let file = option(&mut section);
        section.finish();
        let Spanned { value, place } = file?;
        let (path, bytes) = self.read_file(&value);
        let read = bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| text::decode(bytes).map_err(|error| error.to_string()))
            .and_then(|pem| Signer::of(&name, &pem).map_err(|error: KeyError| error.to_string()));
        match read {
            Ok(signer) => Some(signer),
            Err(error) => {
                let message = format!("{} has no public key: {error}", path.display());
                self.error(&place, message, help).label("no key");
                None
            }
        }
    }

    /// Tells policies whose signatures count, and has the signatures of files watched.
    pub(super) fn ask_for_signatures(
        &mut self,
        policies: &mut BTreeMap<String, Policy>,
        signatures: &Signatures,
    ) {
        for policy in policies.values_mut() {
            policy.signatures = signatures.clone();
            if let (Component::File(file), Signatures::Of(_)) = (&policy.component, signatures) {
                self.files.entry(signature::beside(file)).or_default();
            }
        }
    }
}

/// Takes the options of a signer.
fn option(section: &mut Section<'_>) -> Option<Spanned<String>> {
    section.text("public_key_file")
}

/// Has the options of signers known where the file has none.
pub(super) fn known(root: &Section<'_>) {
    option(&mut root.none("signers.NAME"));
}
