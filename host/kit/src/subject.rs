//! The policy that a command is about: the component, compiled once, and the
//! section of the configuration that says what it may have.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::build;
use super::project::Project;
use crate::arguments::SubjectArgs;
use base::diagnostics::{Diagnostics, Mistakes};
use config::Config;
use policy::component::ComponentPolicy;
use policy::engine::Engine;
use policy::fetch::Fetcher;
use policy::lists::Lists;
use policy::load::{self, Compiled, LoadError, Parts};
use policy::settings;
use policy::world::World;

/// Policy that a command is about, with the configuration that has its section.
pub struct Subject {
    /// The configuration that has its section.
    pub config: Arc<Config>,
    /// Its name there.
    pub name: String,
    /// Its section.
    pub settings: settings::Policy,
    /// Why its component may not be what its author means, if that is so.
    pub stale: Option<String>,
    /// The lists of the configuration, once a case has asked for them.
    lists: OnceLock<Lists>,
    engine: Arc<Engine>,
    fetcher: Arc<Fetcher>,
    compiled: Compiled,
}

impl Subject {
    /// Builds the project, unless a component is given, and compiles what came
    /// of it for the real engine.
    ///
    /// # Errors
    /// What does not build, load or fit together.
    pub async fn load(args: &SubjectArgs, engine: Engine) -> anyhow::Result<Self> {
        let built = match &args.component {
            Some(_) => None,
            // A built-in policy, or one that somebody else builds.
            None if args.policy.is_some() && !Project::is_in(&args.project) => None,
            None => {
                let project = Project::find(&args.project)?;
                Some(build::up_to_date(&project)?)
            }
        };
        let file = args
            .config
            .clone()
            .unwrap_or_else(|| args.project.join("sluice.toml"));
        let (config, diagnostics) = Config::load(Some(&file)).map_err(Mistakes)?;
        // `sluice check` says these.
        drop(diagnostics.finish().map_err(Mistakes)?);
        let name = choose(&config, args.policy.as_deref(), built.as_deref())
            .with_context(|| file.display().to_string())?;
        let mut settings = config.policies[&name].clone();
        // One that is being worked on is not signed yet.
        settings.signatures = policy::signature::Signatures::NotAsked;
        if let Some(file) = args.component.clone() {
            settings.component = settings::Component::File(file);
        }
        let stale = stale(&args.project, &settings.component);
        let engine = compiling(engine, &config);
        // The one that is being worked on is seldom the one that is pinned.
        let fetcher = Arc::new(Fetcher::new(
            &config.data_dir,
            &config.credentials,
            &config.realms,
        ));
        let compiled = compiled(&engine, &fetcher, &name, &settings).await?;
        Ok(Self {
            config: Arc::new(config),
            name,
            settings,
            stale,
            lists: OnceLock::new(),
            engine,
            fetcher,
            compiled,
        })
    }

    /// The lists of the configuration. Only cases need them: recorded decisions have their answers.
    ///
    /// # Errors
    /// [`Mistakes`] in their files.
    pub fn lists(&self) -> anyhow::Result<&Lists> {
        if let Some(lists) = self.lists.get() {
            return Ok(lists);
        }
        let mut diagnostics = Diagnostics::default();
        let lists = Lists::read(&self.config.lists, &mut diagnostics);
        drop(diagnostics.finish().map_err(Mistakes)?);
        Ok(self.lists.get_or_init(|| lists))
    }

    /// The same in another engine.
    ///
    /// # Errors
    /// Where it does not compile there.
    pub async fn on(&self, engine: Engine) -> anyhow::Result<Self> {
        let engine = compiling(engine, &self.config);
        Ok(Self {
            config: Arc::clone(&self.config),
            name: self.name.clone(),
            settings: self.settings.clone(),
            stale: self.stale.clone(),
            lists: self.lists.clone(),
            compiled: compiled(&engine, &self.fetcher, &self.name, &self.settings).await?,
            fetcher: Arc::clone(&self.fetcher),
            engine,
        })
    }

    /// The policy in a world, with some values of its configuration changed.
    /// Its configuration is not validated yet.
    ///
    /// # Errors
    /// Where it imports what it is not granted, or has no hook.
    pub fn policy(
        &self,
        world: Arc<dyn World>,
        changed: &Map<String, Value>,
    ) -> anyhow::Result<ComponentPolicy> {
        let mut settings = self.settings.clone();
        for (key, value) in changed {
            settings.config.insert(key.clone(), value.clone());
            // What the case says, it says of every tenant.
            settings.secrets.remove(key);
            for overlay in settings.tenants.overlays.values_mut() {
                overlay.config.remove(key);
            }
        }
        let parts = Parts {
            engine: Arc::clone(&self.engine),
            fetcher: Arc::clone(&self.fetcher),
            world,
        };
        let mut diagnostics = Diagnostics::default();
        let policy = load::link(
            &self.name,
            &settings,
            &self.compiled,
            &parts,
            &mut diagnostics,
        );
        drop(diagnostics.finish().map_err(Mistakes)?);
        policy.context("a policy that cannot be made is reported")
    }
}

/// An engine that keeps what it compiles where the gateway keeps it too: what a case changes compiles
/// nothing, and an edit little.
fn compiling(engine: Engine, config: &Config) -> Arc<Engine> {
    let folder = config.data_dir.join("components");
    let engine = engine.compiling_apart_with_functions(&folder);
    Arc::new(engine.keeping_compiled(folder))
}

/// Says so if a component of the project in this folder is older than the project's sources.
fn stale(folder: &Path, component: &settings::Component) -> Option<String> {
    let settings::Component::File(file) = component else {
        return None;
    };
    let project = Project::is_in(folder).then(|| Project::find(folder).ok())??;
    let built = file.metadata().and_then(|metadata| metadata.modified());
    let is_its_own = file.canonicalize().ok()?.starts_with(&project.folder);
    (is_its_own && project.changed_since(built.ok()?)).then(|| {
        format!(
            "{} is older than the sources of `{}`: run \"sluice policy build\", or leave out \
             --component, which builds it first",
            file.display(),
            project.name
        )
    })
}

async fn compiled(
    engine: &Arc<Engine>,
    fetcher: &Fetcher,
    name: &str,
    settings: &settings::Policy,
) -> anyhow::Result<Compiled> {
    let error = match load::compile(engine, fetcher, settings, None).await {
        Ok(compiled) => return Ok(compiled),
        Err(LoadError::Imports(imports)) => {
            return Err(Mistakes(load::ungranted(name, settings, &imports)).into());
        }
        Err(LoadError::Compile(error)) => {
            let help = error.help();
            anyhow::Error::new(error).context(help)
        }
        Err(error) => error.into(),
    };
    Err(error.context(format!("the component of \"{name}\"")))
}

/// Which of a configuration's policies is meant.
pub(crate) fn choose(
    config: &Config,
    named: Option<&str>,
    built: Option<&Path>,
) -> anyhow::Result<String> {
    if let Some(name) = named {
        if !config.policies.contains_key(name) {
            bail!(
                "there is no policy \"{name}\"; there are {}",
                names(config.policies.keys())
            );
        }
        return Ok(name.to_owned());
    }
    let mut all = config.policies.keys();
    if let (Some(only), None, None) = (all.next(), all.next(), built) {
        return Ok(only.clone());
    }
    let own: Vec<(&String, PathBuf)> = config
        .policies
        .iter()
        .filter_map(|(name, policy)| match &policy.component {
            settings::Component::File(file) => Some((name, file.canonicalize().ok()?)),
            _ => None,
        })
        .collect();
    let built = built.and_then(|file| file.canonicalize().ok());
    let meant: Vec<&String> = match &built {
        Some(built) => own
            .iter()
            .filter(|(_, file)| file == built)
            .map(|(name, _)| *name)
            .collect(),
        None => own.iter().map(|(name, _)| *name).collect(),
    };
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => match built {
            Some(built) => bail!(
                "no policy here has the component {}: add a section [policies.NAME] with it",
                built.display()
            ),
            None => bail!("no policy here has a component of its own: choose one with --policy"),
        },
        several => bail!(
            "choose one with --policy: {}",
            names(several.iter().copied())
        ),
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}
