//! What the modules of a crate import of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ItemFn, ItemImpl, ItemMod, ItemUse, Macro, Token, UseTree};

use crate::{files, is_for_tests};

/// Names from the root of the crate to a module. The root itself has none.
pub(crate) type Module = Vec<String>;

/// Modules of a crate, without those for tests.
pub(crate) struct Modules(BTreeMap<Module, Source>);

/// What a file says of other modules.
#[derive(Default)]
struct Source {
    file: PathBuf,
    /// Paths that it names: `super::section::Section`.
    paths: BTreeSet<Vec<String>>,
    /// Paths behind the names that it imports.
    names: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Reads the sources of a crate.
    pub(crate) fn of(sources: &Path) -> Self {
        let mut all = Vec::new();
        files(sources, &mut all);
        let mut modules = BTreeMap::new();
        for file in all {
            let inside = file.strip_prefix(sources).unwrap().with_extension("");
            if is_for_tests(&inside) || inside == Path::new("main") {
                continue;
            }
            let names = inside.iter().map(|name| name.to_str().unwrap().to_owned());
            let module: Module = names.filter(|name| name != "lib").collect();
            let code = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
            let mut source = Source {
                file,
                ..Source::default()
            };
            source.visit_file(&code);
            modules.insert(module, source);
        }
        Self(modules)
    }

    /// Each module with its file, and the modules where the things are made that it names.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (&Module, &Path, BTreeSet<Module>)> {
        self.0.iter().map(|(module, source)| {
            let paths = source.paths.iter();
            let made = paths.filter_map(|path| self.made(module, path)).collect();
            (module, source.file.as_path(), made)
        })
    }

    /// The module that makes what a path names in `module`; `None` if it is of another crate.
    fn made(&self, module: &[String], path: &[String]) -> Option<Module> {
        let path = self.absolute(module, path)?;
        let is_module = |depth: &usize| self.0.contains_key(&path[..*depth]);
        let depth = (0..=path.len()).rfind(is_module)?;
        let (found, rest) = path.split_at(depth);
        // What a module has itself imported is made elsewhere.
        let imported = rest.first().and_then(|name| self.0[found].names.get(name));
        let elsewhere = imported.filter(|_| found != module);
        let made = elsewhere.and_then(|path| self.made(found, path));
        Some(made.unwrap_or_else(|| found.to_vec()))
    }

    /// A path from the root of the crate; `None` if it leads out of it.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let up = path.iter().take_while(|name| *name == "super").count();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (module, &path[1..]),
            "super" => (&module[..module.len() - up], &path[up..]),
            name => {
                let child = [module, &[name.to_owned()]].concat();
                self.0.get(&child)?;
                (module, path)
            }
        };
        Some([base, rest].concat())
    }
}

impl Source {
    fn import(&mut self, tree: &UseTree, mut before: Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before.clone());
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                let name = before.last().unwrap().clone();
                self.bind(name, before);
            }
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.bind(name.ident.to_string(), before);
            }
            UseTree::Rename(name) => {
                before.push(name.ident.to_string());
                self.bind(name.rename.to_string(), before);
            }
            UseTree::Glob(_) => {
                self.paths.insert(before);
            }
        }
    }

    fn bind(&mut self, name: String, path: Vec<String>) {
        self.paths.insert(path.clone());
        self.names.insert(name, path);
    }
}

impl Visit<'_> for Source {
    fn visit_item_use(&mut self, item: &ItemUse) {
        if !is_of_tests(&item.attrs) {
            self.import(&item.tree, Vec::new());
        }
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        if !is_of_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        if !is_of_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    /// A module inside of a file is its tests, or was generated.
    fn visit_item_mod(&mut self, _: &ItemMod) {}

    /// `pub(in crate::read)` imports nothing.
    fn visit_visibility(&mut self, _: &syn::Visibility) {}

    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if ["crate", "super"].contains(&names[0].as_str()) {
            self.paths.insert(names);
        }
        visit::visit_path(self, path);
    }

    /// Most macros take expressions. What others take is not looked at.
    fn visit_macro(&mut self, body: &Macro) {
        let expressions = Punctuated::<Expr, Token![,]>::parse_terminated;
        for expression in body.parse_body_with(expressions).iter().flatten() {
            self.visit_expr(expression);
        }
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("cfg")
            && list.is_ok_and(|list| list.tokens.to_string().contains("test"))
    })
}
