//! The structs and enums of the product's sources, with their documentation and serde attributes.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use quote::ToTokens as _;
use syn::{Attribute, Expr, Fields, Item, Lit, Meta};

use crate::source::SourceFile;

/// Structs and enums by name.
#[derive(Debug, Default)]
pub(super) struct CodeIndex {
    structs: BTreeMap<String, Vec<StructDoc>>,
    enums: BTreeMap<String, Vec<EnumDoc>>,
}

/// A struct with named fields that is read as a table of them.
#[derive(Debug, Clone)]
pub(super) struct StructDoc {
    /// The file, relative to the workspace.
    pub(super) path: String,
    pub(super) about: String,
    pub(super) fields: Vec<FieldDoc>,
}

/// A field as it is written in files and requests.
#[derive(Debug, Clone)]
pub(super) struct FieldDoc {
    pub(super) key: String,
    pub(super) about: String,
    /// The type, without spaces.
    pub(super) kind: String,
    /// Set if a file may leave the field out.
    pub(super) is_optional: bool,
}

/// An enum, with the names that serde gives to its variants.
#[derive(Debug, Clone)]
pub(super) struct EnumDoc {
    pub(super) path: String,
    pub(super) about: String,
    /// Set if a value does not name its variant.
    pub(super) is_untagged: bool,
    /// The name of the key that selects the variant, if variants have keys of their own.
    pub(super) tag: Option<String>,
    pub(super) variants: Vec<VariantDoc>,
}

/// A variant of an enum.
#[derive(Debug, Clone)]
pub(super) struct VariantDoc {
    /// The name in Rust.
    pub(super) ident: String,
    /// The name in files and requests.
    pub(super) name: String,
    pub(super) about: String,
    pub(super) fields: Vec<FieldDoc>,
    /// The type of a variant that is read as another struct.
    pub(super) inner: Option<String>,
}

impl CodeIndex {
    /// Indexes the product files under `crates/`.
    pub(super) fn new(files: &[SourceFile]) -> Self {
        let mut index = Self::default();
        let product = files.iter().filter(|file| !file.is_test && file.path.starts_with("crates/"));
        for file in product {
            for item in &file.syntax.items {
                match item {
                    Item::Struct(item) => {
                        let Some(doc) = struct_doc(&file.path, item) else { continue };
                        index.structs.entry(item.ident.to_string()).or_default().push(doc);
                    }
                    Item::Enum(item) => {
                        let doc = enum_doc(&file.path, item);
                        index.enums.entry(item.ident.to_string()).or_default().push(doc);
                    }
                    _ => {}
                }
            }
        }
        index
    }

    /// The only struct called `name` in the files whose path starts with one of `places`.
    pub(super) fn structure(&self, name: &str, places: &[&str]) -> anyhow::Result<&StructDoc> {
        let found = self.structs.get(name).into_iter().flatten();
        only(name, found.filter(|doc| is_in(&doc.path, places)))
    }

    /// The only enum called `name` in the files whose path starts with one of `places`.
    pub(super) fn enumeration(&self, name: &str, places: &[&str]) -> anyhow::Result<&EnumDoc> {
        let found = self.enums.get(name).into_iter().flatten();
        only(name, found.filter(|doc| is_in(&doc.path, places)))
    }
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

fn only<T>(name: &str, mut found: impl Iterator<Item = T>) -> anyhow::Result<T> {
    let one = found.next().with_context(|| format!("no type is called {name}"))?;
    if found.next().is_some() {
        bail!("several types are called {name}");
    }
    Ok(one)
}

fn struct_doc(path: &str, item: &syn::ItemStruct) -> Option<StructDoc> {
    let container = SerdeWords::of(&item.attrs);
    if container.has_other_form || !derives_deserialize(&item.attrs) {
        return None;
    }
    let fields = fields(&item.fields, &container)?;
    Some(StructDoc { path: path.to_owned(), about: about(&item.attrs), fields })
}

fn enum_doc(path: &str, item: &syn::ItemEnum) -> EnumDoc {
    let container = SerdeWords::of(&item.attrs);
    let variants = item.variants.iter().map(|variant| {
        let own = SerdeWords::of(&variant.attrs);
        let ident = variant.ident.to_string();
        VariantDoc {
            name: own.rename.clone().unwrap_or_else(|| renamed(&ident, container.rename_all())),
            ident,
            about: about(&variant.attrs),
            fields: fields(&variant.fields, &own).unwrap_or_default(),
            inner: match &variant.fields {
                Fields::Unnamed(one) => one.unnamed.first().map(|field| spelling(&field.ty)),
                _ => None,
            },
        }
    });
    EnumDoc {
        path: path.to_owned(),
        about: about(&item.attrs),
        is_untagged: container.is_untagged,
        tag: container.tag.clone(),
        variants: variants.collect(),
    }
}

fn fields(fields: &Fields, container: &SerdeWords) -> Option<Vec<FieldDoc>> {
    let Fields::Named(named) = fields else { return None };
    let docs = named.named.iter().filter_map(|field| {
        let own = SerdeWords::of(&field.attrs);
        let kind = spelling(&field.ty);
        Some(FieldDoc {
            key: own.rename.clone().unwrap_or(field.ident.as_ref()?.to_string()),
            about: about(&field.attrs),
            is_optional: container.has_default || own.has_default || kind.starts_with("Option<"),
            kind,
        })
    });
    Some(docs.collect())
}

/// The type as it is written in the source, without spaces and paths.
pub(super) fn spelling(kind: &syn::Type) -> String {
    let tokens = quote_tokens(kind);
    let mut parts: Vec<&str> = Vec::new();
    for part in tokens.split("::") {
        // A path prefix ends where the last name before `::` begins.
        if let Some(last) = parts.last_mut() {
            let cut = last.rfind(['<', ',', '(']).map_or(0, |at| at + 1);
            *last = &last[..cut];
        }
        parts.push(part);
    }
    parts.concat()
}

fn quote_tokens(kind: &syn::Type) -> String {
    kind.to_token_stream().to_string().replace(' ', "")
}

fn derives_deserialize(attributes: &[Attribute]) -> bool {
    let derives = attributes.iter().filter(|one| one.path().is_ident("derive"));
    derives.into_iter().any(|one| one.to_token_stream().to_string().contains("Deserialize"))
}

/// The words of serde attributes that change the written form.
#[derive(Debug, Default)]
struct SerdeWords {
    rename: Option<String>,
    rename_all: Option<String>,
    tag: Option<String>,
    has_default: bool,
    is_untagged: bool,
    /// Set if the type is read as another one.
    has_other_form: bool,
}

impl SerdeWords {
    fn of(attributes: &[Attribute]) -> Self {
        let mut words = Self::default();
        for attribute in attributes.iter().filter(|one| one.path().is_ident("serde")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                let text = match meta.value() {
                    Ok(value) => match value.parse::<Expr>()? {
                        Expr::Lit(literal) => match literal.lit {
                            Lit::Str(text) => Some(text.value()),
                            _ => None,
                        },
                        _ => None,
                    },
                    Err(_) => None,
                };
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                match name.as_str() {
                    "rename" => words.rename = text,
                    "rename_all" => words.rename_all = text,
                    "tag" => words.tag = text,
                    "from" | "try_from" => words.has_other_form = true,
                    "untagged" => words.is_untagged = true,
                    "default" => words.has_default = true,
                    _ => {}
                }
                Ok(())
            });
            // Attributes in another form, such as `rename(serialize = "a")`, change nothing here.
            drop(parsed);
        }
        words
    }

    fn rename_all(&self) -> &str {
        self.rename_all.as_deref().unwrap_or_default()
    }
}

/// The variant's name under a `rename_all` rule.
fn renamed(ident: &str, rule: &str) -> String {
    let separated = |separator: char| {
        let mut name = String::new();
        for (at, letter) in ident.char_indices() {
            if letter.is_uppercase() && at > 0 {
                name.push(separator);
            }
            name.extend(letter.to_lowercase());
        }
        name
    };
    match rule {
        "snake_case" => separated('_'),
        "kebab-case" => separated('-'),
        "lowercase" => ident.to_lowercase(),
        _ => ident.to_owned(),
    }
}

/// The doc comment, as Markdown without links to Rust items.
pub(super) fn about(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> =
        lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned()).collect();
    without_item_links(lines.join("\n").trim())
}

/// Replaces links to Rust items by their text.
fn without_item_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, link) = rest.split_at(open);
        plain.push_str(before);
        let Some(close) = link.find(']') else { break };
        let (label, after) = (&link[1..close], &link[close + 1..]);
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        match target {
            Some((target, after)) if !target.contains([':', '/', '.']) || target.contains("::") => {
                plain.push_str(label);
                rest = after;
            }
            None if label.starts_with('`') && label.ends_with('`') && label.len() > 2 => {
                plain.push_str(label);
                rest = after;
            }
            _ => {
                plain.push_str(&link[..=close]);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_renamed_as_serde_does() {
        assert_eq!(renamed("MaxTokens", "snake_case"), "max_tokens");
        assert_eq!(renamed("ApiKey", "kebab-case"), "api-key");
        assert_eq!(renamed("Zh", "lowercase"), "zh");
        assert_eq!(renamed("Zh", ""), "Zh");
    }

    #[test]
    fn fields_have_their_keys_types_and_documentation() {
        let item: syn::ItemStruct = syn::parse_quote! {
            /// A [struct](Other) of `[0, 1]`.
            #[derive(Debug, Deserialize)]
            struct S {
                /// As [`Other::A`].
                #[serde(rename = "type", default)]
                kind: std::collections::BTreeMap<String, std::path::PathBuf>,
                other: Option<Vec<Other>>,
            }
        };
        let doc = struct_doc("a.rs", &item).unwrap();
        assert_eq!(doc.about, "A struct of `[0, 1]`.");
        let [kind, other] = &doc.fields[..] else { panic!("{doc:?}") };
        assert_eq!((kind.key.as_str(), kind.about.as_str()), ("type", "As `Other::A`."));
        assert_eq!((kind.kind.as_str(), kind.is_optional), ("BTreeMap<String,PathBuf>", true));
        assert_eq!((other.kind.as_str(), other.is_optional), ("Option<Vec<Other>>", true));
        let item: syn::ItemStruct = syn::parse_quote! {
            #[derive(Deserialize)]
            #[serde(try_from = "String")]
            struct S { a: u8 }
        };
        assert!(struct_doc("a.rs", &item).is_none());
    }
}
