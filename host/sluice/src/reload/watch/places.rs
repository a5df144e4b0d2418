//! Names on the paths to files, where a change of a file shows.
//!
//! Files are more often replaced than written. The file may be replaced, or a folder above it, or a
//! link anywhere on its path: Kubernetes swaps `..data`, a deployment swaps `current`, git-sync
//! swaps a link to a work tree. So each path is resolved name by name, with links followed, and
//! each folder that contains one of these names is watched for that name.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Maximum number of links on the path to one file, as in Linux (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Names on the paths to some files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Names with their folders. No folder in these paths is a link.
    pub(super) names: BTreeSet<PathBuf>,
    /// Folders of these names, as far as they exist.
    pub(super) folders: BTreeSet<PathBuf>,
}

impl Places {
    /// Current places of all these files. Blocks.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut places = Self::default();
        for file in files {
            // It fails without a current folder. Relative paths then lead nowhere.
            if let Ok(file) = std::path::absolute(file) {
                places.add(&file);
            }
        }
        places
    }

    fn add(&mut self, file: &Path) {
        let mut here = PathBuf::from("/");
        let mut ahead: VecDeque<PathStep> = steps(file).collect();
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            match step {
                PathStep::Root => here = PathBuf::from("/"),
                PathStep::Up => drop(here.pop()),
                PathStep::Into(name) => {
                    if here.is_dir() {
                        self.folders.insert(here.clone());
                    }
                    here.push(name);
                    self.names.insert(here.clone());
                    let Ok(target) = std::fs::read_link(&here) else {
                        continue;
                    };
                    links += 1;
                    if links > MOST_LINKS {
                        return;
                    }
                    here.pop();
                    for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(step);
                    }
                }
            }
        }
    }
}

enum PathStep {
    Root,
    Up,
    Into(OsString),
}

fn steps(path: &Path) -> impl Iterator<Item = PathStep> {
    path.components().filter_map(|component| match component {
        Component::RootDir => Some(PathStep::Root),
        Component::ParentDir => Some(PathStep::Up),
        Component::Normal(name) => Some(PathStep::Into(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The names below a folder, relative to it.
    fn names(places: &Places, folder: &Path) -> Vec<String> {
        let names = places.names.iter();
        let inside = names.filter_map(|name| name.strip_prefix(folder).ok());
        let shown = inside.map(|name| name.display().to_string());
        shown.filter(|name| !name.is_empty()).collect()
    }

    #[test]
    fn every_name_on_the_way_is_a_place_links_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(folder.join("map/..2026")).unwrap();
        std::fs::write(folder.join("map/..2026/a"), "").unwrap();
        symlink("..2026", folder.join("map/..data")).unwrap();
        symlink("..data/a", folder.join("map/a")).unwrap();
        symlink(folder.join("map"), folder.join("conf")).unwrap();
        let file = folder.join("conf/../conf/a");
        let places = Places::of([&file]);
        let expected = [
            "conf",
            "map",
            "map/..2026",
            "map/..2026/a",
            "map/..data",
            "map/a",
        ];
        assert_eq!(names(&places, &folder), expected);
        for within in ["", "map", "map/..2026"] {
            assert!(places.folders.contains(&folder.join(within)), "{within}");
        }
        assert!(places.folders.contains(Path::new("/")));
    }

    #[test]
    fn what_is_not_there_is_waited_for_where_it_will_appear() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let places = Places::of([&folder.join("later/keys/a")]);
        assert_eq!(
            names(&places, &folder),
            ["later", "later/keys", "later/keys/a"]
        );
        assert!(places.folders.contains(&folder));
        assert!(!places.folders.contains(&folder.join("later")));
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        symlink("b", folder.join("a")).unwrap();
        symlink("a", folder.join("b")).unwrap();
        assert_eq!(names(&Places::of([&folder.join("a")]), &folder), ["a", "b"]);
    }

    #[test]
    fn a_file_without_a_folder_is_here() {
        let places = Places::of([&PathBuf::from("no such file")]);
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert!(places.folders.contains(&here));
        assert!(places.names.contains(&here.join("no such file")));
    }
}
