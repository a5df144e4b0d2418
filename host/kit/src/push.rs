//! `sluice policy push`: a component on its way to a registry, and the line that pins it.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};

use super::build;
use super::inspect::Inspection;
use super::project::Project;
use crate::arguments::PushArgs;
use base::diagnostics::Mistakes;
use base::files::text;
use config::Config;
use policy::fetch::credentials::Credentials;
use policy::fetch::reference::Destination;
use policy::fetch::{Artifact, Fetcher};
use policy::load::{read_bounded, read_bundle};
use policy::signature::{self, SignatureError};

/// Runs `sluice policy push`.
///
/// # Errors
/// If there is no component, or the registry does not take it.
pub async fn run(args: &PushArgs) -> anyhow::Result<()> {
    let to = Destination::parse(&args.to)
        .map_err(|error| anyhow!("{}: {error}: {}", args.to, error.help()))?;
    let file = match &args.component {
        Some(file) => file.clone(),
        None => build::up_to_date(&Project::find(&args.project)?)?,
    };
    let shown = file.display().to_string();
    let component = read_bounded(&file).with_context(|| shown.clone())?;
    let inspection = Inspection::of(&component).with_context(|| shown.clone())?;
    let mut bundle = read_bundle(&file)?;
    match bundle
        .as_ref()
        .map(|bundle| signature::is_of(&component, bundle))
    {
        Some(Err(error @ SignatureError::NoBundle(_))) => {
            // Something else that stands beside it, of a tool of its own.
            eprintln!("{shown}: {error}: it is left behind");
            bundle = None;
        }
        Some(Err(error)) => bail!("{shown}: {error}: {}", error.help()),
        Some(Ok(())) | None => {}
    }
    let artifact = Artifact {
        component: &component,
        bundle: bundle.as_deref(),
        imports: &inspection.imports,
        exports: &inspection.exports,
    };
    let pushed = fetcher(args, &to)?.push(&to, &artifact).await;
    let reference = pushed.map_err(|error| anyhow!("{error}: {}", error.help()))?;
    let signed = match bundle {
        Some(_) => "with its signature",
        None => "without a signature",
    };
    println!("pushed {shown}, {} bytes, {signed}", component.len());
    print!("{inspection}");
    println!("component = \"{to}@sha256:{}\"", reference.digest);
    Ok(())
}

/// Whoever speaks to the registry, with the credentials for it.
fn fetcher(args: &PushArgs, to: &Destination) -> anyhow::Result<Fetcher> {
    let file = args.project.join("sluice.toml");
    // That of a project is faultless once its component is built. Whoever names both needs none.
    let is_of_project = args.component.is_none() && args.credentials.is_none();
    let own = is_of_project && file.is_file();
    let config = args.config.as_ref().or(own.then_some(&file));
    let config = match config {
        Some(file) => {
            let (config, diagnostics) = Config::load(Some(file)).map_err(Mistakes)?;
            // `sluice check` says these.
            drop(diagnostics.finish().map_err(Mistakes)?);
            Some(config)
        }
        None => None,
    };
    let credentials = match (&args.credentials, &config) {
        (Some(file), _) => read(file, to)?,
        (None, Some(config)) => config.credentials.clone(),
        (None, None) => Credentials::default(),
    };
    let realms = config.map(|config| config.realms).unwrap_or_default();
    // Nothing of what is pushed is kept.
    Ok(Fetcher::new(Path::new(""), &credentials, &realms))
}

fn read(file: &Path, to: &Destination) -> anyhow::Result<Credentials> {
    let shown = file.display().to_string();
    let json = text::read(file).with_context(|| shown.clone())?;
    let (credentials, unusable) = Credentials::parse(&json).with_context(|| shown.clone())?;
    for entry in unusable.iter().filter(|entry| entry.host == to.host) {
        eprintln!("{shown}: no credentials for {}: {}", entry.host, entry.why);
    }
    Ok(credentials)
}
