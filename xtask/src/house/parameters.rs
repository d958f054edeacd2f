//! Functions with more parameters than the limit, counted as `clippy::too_many_arguments` counts them.

use syn::visit::{self, Visit};
use syn::{ImplItemFn, ItemFn, ItemImpl, ItemMod, Signature, TraitItemFn};

use crate::source::{SourceFile, is_test_only};

/// `path:line name (count)` of every product function with more than `limit` parameters, `self` included.
pub(super) fn long_lists(files: &[SourceFile], limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.is_test) {
        let mut visitor =
            ParameterVisitor { path: &file.path, limit, in_trait_impl: false, found: &mut found };
        visitor.visit_file(&file.syntax);
    }
    found
}

struct ParameterVisitor<'a> {
    path: &'a str,
    limit: usize,
    in_trait_impl: bool,
    found: &'a mut Vec<String>,
}

impl ParameterVisitor<'_> {
    fn check(&mut self, signature: &Signature) {
        let (count, name) = (signature.inputs.len(), &signature.ident);
        if count > self.limit {
            self.found.push(format!("{}:{} {name} ({count})", self.path, name.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for ParameterVisitor<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test_only(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    // The trait decides the parameters of its implementations.
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let outer = std::mem::replace(&mut self.in_trait_impl, item.trait_.is_some());
        visit::visit_item_impl(self, item);
        self.in_trait_impl = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test_only(&item.attrs) {
            self.check(&item.sig);
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !self.in_trait_impl {
            self.check(&item.sig);
        }
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.check(&item.sig);
        visit::visit_trait_item_fn(self, item);
    }
}
