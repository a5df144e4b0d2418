//! `sluice policy sign`: the signature of a component, beside it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::build;
use super::project::Project;
use crate::arguments::SignArgs;
use base::files::text;
use policy::load::read_bounded;
use policy::signature::{self, KeyError};

/// Runs `sluice policy sign`.
///
/// # Errors
/// If there is no component, or no key to sign it with.
pub fn run(args: &SignArgs) -> anyhow::Result<()> {
    let shown = args.key.display();
    let key = text::read(&args.key).with_context(|| shown.to_string())?;
    let file = match &args.component {
        Some(file) => file.clone(),
        None => build::up_to_date(&Project::find(&args.project)?)?,
    };
    let component = read_bounded(&file).with_context(|| file.display().to_string())?;
    let signed = signature::sign(&component, &key);
    let bundle = signed.map_err(|error| anyhow!("{shown}: {error}: {}", help(&error)))?;
    let beside = signature::beside(&file);
    write(&beside, &bundle).with_context(|| beside.display().to_string())?;
    println!("signed {}: {}", file.display(), beside.display());
    Ok(())
}

/// Puts the signature in its place as a whole: a gateway may watch it.
fn write(file: &Path, bundle: &[u8]) -> anyhow::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new()
        .prefix(".signing-")
        .tempfile_in(folder)?;
    beside.write_all(bundle)?;
    let readable = PermissionsExt::from_mode(0o644);
    beside.as_file().set_permissions(readable)?;
    beside.persist(file)?;
    Ok(())
}

/// What to do about a key.
fn help(error: &KeyError) -> &'static str {
    match error {
        KeyError::Cosign => {
            "sign with `cosign sign-blob --key KEY --bundle FILE.wasm.sigstore.json FILE.wasm`"
        }
        _ => "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
    }
}
