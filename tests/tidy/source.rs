//! The files of the checkout as the rules look at them: which there are, what in them ships, how long their functions
//! are.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A Rust file, read once.
pub(crate) struct Source {
    /// From the checkout's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Lines outside of `#[cfg(test)]` items.
    pub(crate) body_lines: usize,
    /// Line ranges (first and last, from 1) of `#[cfg(test)]` items and `#[test]` functions.
    pub(crate) test_ranges: Vec<(usize, usize)>,
    /// Name and length of every function.
    pub(crate) functions: Vec<(String, usize)>,
}

impl Source {
    /// Whether the whole file exists for tests only.
    pub(crate) fn is_test(&self) -> bool {
        let in_folder = self
            .path
            .split('/')
            .any(|part| matches!(part, "tests" | "testkit" | "benches" | "fuzz"));
        in_folder
            || ["/test.rs", "/tests.rs", "_test.rs", "_tests.rs"]
                .iter()
                .any(|end| self.path.ends_with(end))
    }

    /// The lines that ship, with their numbers.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        numbered
            .filter(|(n, _)| !self.is_test() && !self.test_ranges.iter().any(|(a, b)| (a..=b).contains(&n)))
    }
}

/// Finds functions and test-only parts.
#[derive(Default)]
struct Measure {
    functions: Vec<(String, usize)>,
    test_ranges: Vec<(usize, usize)>,
}

impl Measure {
    fn function(
        &mut self,
        name: &syn::Ident,
        attributes: &[syn::Attribute],
        from: proc_macro2::Span,
        block: &syn::Block,
    ) {
        let (first, last) = (from.start().line, block.span().end().line);
        self.functions.push((name.to_string(), last - first + 1));
        if attributes.iter().any(|a| a.path().is_ident("test")) {
            self.test_ranges.push((first, last));
        }
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(m) => &m.attrs,
            syn::Item::Fn(f) => &f.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Use(u) => &u.attrs,
            _ => return visit::visit_item(self, item),
        };
        if attributes.iter().any(is_for_tests) {
            self.test_ranges
                .push((item.span().start().line, item.span().end().line));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.function(&f.sig.ident, &f.attrs, f.sig.span(), &f.block);
        visit::visit_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.function(&f.sig.ident, &f.attrs, f.sig.span(), &f.block);
        visit::visit_impl_item_fn(self, f);
    }

    fn visit_trait_item_fn(&mut self, f: &'ast syn::TraitItemFn) {
        if let Some(block) = &f.default {
            self.function(&f.sig.ident, &f.attrs, f.sig.span(), block);
        }
        visit::visit_trait_item_fn(self, f);
    }
}

/// `#[cfg(test)]`, also inside `all(..)`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let words = list.tokens.to_string();
    list.path.is_ident("cfg")
        && !words.starts_with("not")
        && words.split(|c: char| !c.is_alphanumeric()).any(|w| w == "test")
}

pub(crate) fn measure(path: &str, text: String) -> Source {
    let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}:{}: {e}", e.span().start().line));
    let mut found = Measure::default();
    found.visit_file(&file);
    let in_tests = |n: &usize| found.test_ranges.iter().any(|(a, b)| (a..=b).contains(&n));
    let body_lines = (1..=text.lines().count()).filter(|n| !in_tests(n)).count();
    Source {
        path: path.to_owned(),
        text,
        body_lines,
        test_ranges: found.test_ranges,
        functions: found.functions,
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder"))
        .parent()
        .expect("tests/ lies in the checkout")
        .to_owned()
}

/// Every file of the checkout that people write, as paths from its root.
pub(crate) fn files() -> Vec<String> {
    let root = root();
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a readable folder entry").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let generated = matches!(
                name.as_str(),
                "target" | ".git" | "node_modules" | "data" | "artifacts"
            );
            if path.is_dir() && !generated {
                open.push(path);
            } else if path.is_file() {
                let relative = path.strip_prefix(&root).expect("found below the root");
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file; templates hold placeholders and are looked at when they are filled in.
pub(crate) fn sources() -> Vec<Source> {
    let rust = files()
        .into_iter()
        .filter(|p| p.ends_with(".rs") && !p.starts_with("sdk/template/"));
    rust.map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        measure(&path, text)
    })
    .collect()
}

#[test]
fn the_measure_measures() {
    let text =
        "//! x\nfn a() {\n    1;\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn b() {}\n}\n".to_owned();
    let source = measure("core/x.rs", text);
    assert_eq!(source.functions, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    assert_eq!((source.body_lines, source.shipped().count()), (5, 5));
}
