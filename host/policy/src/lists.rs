//! Lists and maps that operators keep in files, and that policies look things up in.
//!
//! A list outlives the generation of the configuration that names it: when its file changes, all
//! generations that have it see its new entries, and so do the streams that they accepted. A file
//! that cannot be read leaves the earlier entries in use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base::diagnostics::Diagnostics;
use base::metrics;

use crate::settings;

mod entries;
mod parse;

pub use entries::Entries;
pub use parse::{ListError, Wrong};

/// A list whose entries can be replaced while it is used.
#[derive(Debug)]
struct List(RwLock<Entries>);

impl List {
    fn new(entries: Entries) -> Self {
        Self(RwLock::new(entries))
    }

    /// Looks something up in its entries, which must take no longer than that: decisions wait for
    /// this lock on worker threads.
    fn look_up<T>(&self, in_entries: impl FnOnce(&Entries) -> T) -> T {
        // Nothing is left half done under this lock, so poisoning carries no news.
        in_entries(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces its entries, and frees the earlier ones. Blocks.
    fn replace(&self, entries: Entries) {
        let mut serving = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::replace(&mut *serving, entries);
        // Freeing a large list takes long enough to be felt, so nobody waits for it.
        drop(serving);
        drop(earlier);
    }
}

/// The lists of one generation, by name.
#[derive(Debug, Default, Clone)]
pub struct Lists(BTreeMap<String, Arc<List>>);

impl Lists {
    /// Lists with these entries.
    #[must_use]
    pub fn of(lists: impl IntoIterator<Item = (String, Entries)>) -> Self {
        let lists = lists.into_iter();
        Self(
            lists
                .map(|(name, entries)| (name, Arc::new(List::new(entries))))
                .collect(),
        )
    }

    /// Lists of a configuration, read now. Mistakes are added to `diagnostics`. Blocks.
    #[must_use]
    pub fn read(
        settings: &BTreeMap<String, settings::List>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        Shelf::default().prepare(settings, diagnostics).lists
    }

    /// Whether a list has an entry; `None` if there is no list of that name.
    #[must_use]
    pub fn contains(&self, name: &str, entry: &str) -> Option<bool> {
        let list = self.0.get(name)?;
        Some(list.look_up(|entries| entries.contains(entry)))
    }

    /// The value of a map at a key; `None` if there is no list of that name.
    #[must_use]
    pub fn value(&self, name: &str, key: &str) -> Option<Option<String>> {
        let list = self.0.get(name)?;
        Some(list.look_up(|entries| entries.value(key).map(str::to_owned)))
    }

    /// Puts other lists in the place of those with the same names.
    #[must_use]
    pub fn with(&self, others: Self) -> Self {
        let mut lists = self.0.clone();
        lists.extend(others.0);
        Self(lists)
    }
}

/// The lists that serve, for those who read them anew.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<BTreeMap<String, Arc<List>>>);

/// Lists of a generation that does not serve yet, with what they will have.
#[derive(Debug)]
pub struct Prepared {
    /// The lists.
    pub lists: Lists,
    entries: Vec<(Arc<List>, Entries)>,
}

/// What became of a list whose file was read anew.
#[derive(Debug)]
pub struct Refreshed {
    /// Name of the list.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Number of its entries now, or why it has the earlier ones.
    pub entries: Result<usize, ListError>,
}

impl Shelf {
    /// Reads the lists of a configuration. Those that serve keep their entries until the result is
    /// [put](Shelf::put) there. Mistakes are added to `diagnostics`. Blocks.
    #[must_use]
    pub fn prepare(
        &self,
        settings: &BTreeMap<String, settings::List>,
        diagnostics: &mut Diagnostics,
    ) -> Prepared {
        let serving = self.serving();
        let mut lists = BTreeMap::new();
        let mut entries = Vec::new();
        for (name, list) in settings {
            let read = match parse::read(&list.file, list.format) {
                Ok(read) => read,
                Err(error) => {
                    let message = format!("list `{name}`: {} {error}", list.file.display());
                    diagnostics.error(&list.place, message, error.help());
                    continue;
                }
            };
            match serving.get(name) {
                Some(there) => {
                    entries.push((Arc::clone(there), read));
                    lists.insert(name.clone(), Arc::clone(there));
                }
                None => {
                    lists.insert(name.clone(), Arc::new(List::new(read)));
                }
            }
        }
        Prepared {
            lists: Lists(lists),
            entries,
        }
    }

    /// Has lists serve that were prepared. A list that is not among them keeps its entries for the
    /// streams of earlier generations.
    pub fn put(&self, prepared: Prepared) {
        for (list, entries) in prepared.entries {
            list.replace(entries);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = prepared.lists.0;
        self.count();
    }

    /// Sets the metric of how many entries each list has. The lists of a start are read before there
    /// are metrics.
    pub fn count(&self) {
        for (name, list) in self.serving() {
            metrics::list_entries(&name, list.look_up(Entries::len));
        }
    }

    /// Reads those lists anew whose files are `changed`. A list that cannot be read keeps its
    /// entries. Blocks.
    pub fn refresh(
        &self,
        settings: &BTreeMap<String, settings::List>,
        changed: impl Fn(&Path) -> bool,
    ) -> Vec<Refreshed> {
        let serving = self.serving();
        let changed = settings.iter().filter(|(_, list)| changed(&list.file));
        let of_serving = changed.filter_map(|(name, list)| Some((name, list, serving.get(name)?)));
        of_serving
            .map(|(name, settings, list)| Refreshed {
                name: name.clone(),
                file: settings.file.clone(),
                entries: parse::read(&settings.file, settings.format).map(|entries| {
                    let count = entries.len();
                    list.replace(entries);
                    metrics::list_entries(name, count);
                    count
                }),
            })
            .collect()
    }

    fn serving(&self) -> BTreeMap<String, Arc<List>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests;
