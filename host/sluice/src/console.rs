//! Console: a web page for operators, on the admin listener.
//!
//! The page is plain files in the binary, so that it works without the internet and without a build
//! of its own. It shows what [`crate::schema`] says, and gets it anew by [`feed`].

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

use crate::admin_state::Admin;

mod events;
mod feed;
mod files;
mod levels;
mod pace;
mod search;
mod view;

pub(crate) use feed::feed;

/// Files of the page, which say nothing of the gateway.
pub(crate) fn page() -> Router<Admin> {
    let page = files::FILES.iter().fold(Router::new(), |router, file| {
        let path = format!("/console/{}", file.name);
        router.route(&path, get(async move || file.answer()))
    });
    page.route("/console", get(async || Redirect::permanent("/console/")))
}
