use super::*;
use crate::settings::ListFormat;
use base::diagnostics::Place;

fn settings(folder: &Path, names: &[&str]) -> BTreeMap<String, settings::List> {
    let list = |name: &&str| {
        let list = settings::List {
            file: folder.join(name),
            format: ListFormat::Lines,
            place: Place::nowhere(),
        };
        ((*name).to_owned(), list)
    };
    names.iter().map(list).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// The lists of a configuration, which serve now.
fn serve(shelf: &Shelf, settings: &BTreeMap<String, settings::List>) -> Lists {
    let mut mistakes = Diagnostics::default();
    let prepared = shelf.prepare(settings, &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    let lists = prepared.lists.clone();
    shelf.put(prepared);
    lists
}

#[test]
fn every_generation_sees_new_entries_and_none_before_they_serve() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "vip", "acme\n");
    let settings = settings(folder.path(), &["vip"]);
    let shelf = Shelf::default();
    let first = serve(&shelf, &settings);
    assert_eq!(first.contains("vip", "acme"), Some(true));
    assert_eq!(first.contains("other", "acme"), None);

    write(folder.path(), "vip", "globex\n");
    let mut mistakes = Diagnostics::default();
    drop(shelf.prepare(&settings, &mut mistakes));
    assert_eq!(first.contains("vip", "acme"), Some(true));

    let second = serve(&shelf, &settings);
    for lists in [&first, &second] {
        assert_eq!(lists.contains("vip", "acme"), Some(false));
        assert_eq!(lists.contains("vip", "globex"), Some(true));
    }
}

#[test]
fn a_list_that_is_configured_no_more_stays_for_those_who_have_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "vip", "acme\n");
    let shelf = Shelf::default();
    let first = serve(&shelf, &settings(folder.path(), &["vip"]));
    let second = serve(&shelf, &BTreeMap::new());
    assert_eq!(first.contains("vip", "acme"), Some(true));
    assert_eq!(second.contains("vip", "acme"), None);
}

#[test]
fn a_changed_file_is_read_anew_and_one_that_cannot_be_read_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let vip = write(folder.path(), "vip", "acme\n");
    write(folder.path(), "other", "acme\n");
    let settings = settings(folder.path(), &["vip", "other"]);
    let shelf = Shelf::default();
    let lists = serve(&shelf, &settings);

    for (name, text) in [("vip", "globex\ninitech\n"), ("other", "globex\n")] {
        write(folder.path(), name, text);
    }
    let refreshed = shelf.refresh(&settings, |file| file == vip);
    assert_eq!(refreshed.len(), 1);
    assert_eq!(refreshed[0].entries.as_ref().ok(), Some(&2));
    assert_eq!(lists.contains("vip", "globex"), Some(true));
    // Its file is not among the changed ones.
    assert_eq!(lists.contains("other", "globex"), Some(false));

    std::fs::remove_file(&vip).unwrap();
    let refreshed = shelf.refresh(&settings, |file| file == vip);
    assert!(refreshed[0].entries.is_err());
    assert_eq!(lists.contains("vip", "globex"), Some(true));
}

#[test]
fn a_list_that_cannot_be_read_is_a_mistake_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut mistakes = Diagnostics::default();
    let lists = Lists::read(&settings(folder.path(), &["vip"]), &mut mistakes);
    assert!(lists.contains("vip", "acme").is_none());
    let report = mistakes.to_string();
    assert!(report.contains("list `vip`: "), "{report}");
    assert!(report.contains("cannot be read"), "{report}");
}
