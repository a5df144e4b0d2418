//! Keys whose file is taken away, and put back.

use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::{claims, verdict};
use crate::TokenError;
use crate::fixtures::*;
use crate::settings::KeySource;
use crate::{KeySet, KeySets};
use base::secret::Secret;

#[test]
fn keys_whose_file_is_gone_say_nothing_about_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let source = KeySource::Secret(Secret::new(SECRET));
    let mut settings = settings(source, &[Algorithm::HS256]);
    settings.file = Some(file.clone());
    let set = Arc::new(KeySet::build("main", &settings, folder.path()).unwrap());
    let sets = KeySets::of([("main".to_owned(), Arc::clone(&set))]);
    let token = hs256(r#"{"alg":"HS256"}"#, &claims().to_string());
    let are_there = || {
        sets.look_again();
        assert!(sets.missing().is_empty());
        assert_eq!(verdict(&set, &token), Ok(()));
    };
    are_there();
    std::fs::remove_file(&file).unwrap();
    let nothing = |_: &Path| {};
    // A folder in its place is no file either.
    let folder = |file: &Path| std::fs::create_dir(file).unwrap();
    for put in [nothing, folder] {
        put(&file);
        sets.look_again();
        assert_eq!(sets.missing().len(), 1);
        for token in [&*token, "no token at all"] {
            assert_eq!(verdict(&set, token), Err(TokenError::Unavailable));
        }
        assert_eq!(verdict(&set, ""), Err(TokenError::Missing));
    }
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, SECRET).unwrap();
    are_there();
}
