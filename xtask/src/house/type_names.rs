//! Type names: names that several types share, and names that are bare past participles.

use std::collections::BTreeMap;

use syn::Item;

use crate::source::{SourceFile, is_test_only};

/// A type that is defined at module level.
pub(super) struct TypeDefinition {
    pub(super) name: String,
    /// `path:line` of the definition.
    pub(super) place: String,
}

/// The types that product code defines, test modules left out.
pub(super) fn definitions(files: &[SourceFile]) -> Vec<TypeDefinition> {
    let mut definitions = Vec::new();
    for file in files.iter().filter(|file| !file.is_test) {
        collect(&file.path, &file.syntax.items, &mut definitions);
    }
    definitions
}

fn collect(path: &str, items: &[Item], definitions: &mut Vec<TypeDefinition>) {
    for item in items {
        let (name, attributes) = match item {
            Item::Struct(item) => (&item.ident, &item.attrs),
            Item::Enum(item) => (&item.ident, &item.attrs),
            Item::Trait(item) => (&item.ident, &item.attrs),
            Item::Union(item) => (&item.ident, &item.attrs),
            Item::Type(item) => (&item.ident, &item.attrs),
            Item::Mod(module) => {
                if let (Some((_, items)), false) = (&module.content, is_test_only(&module.attrs)) {
                    collect(path, items, definitions);
                }
                continue;
            }
            _ => continue,
        };
        if !is_test_only(attributes) {
            let place = format!("{path}:{}", name.span().start().line);
            definitions.push(TypeDefinition { name: name.to_string(), place });
        }
    }
}

/// Names that more than one definition has, with the places.
pub(super) fn shared(definitions: &[TypeDefinition]) -> BTreeMap<&str, Vec<&str>> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for TypeDefinition { name, place } in definitions {
        places.entry(name).or_default().push(place);
    }
    places.retain(|_, places| places.len() > 1);
    places
}

/// Past participles that do not end in "ed".
const IRREGULAR: [&str; 74] = [
    "Bent",
    "Bitten",
    "Blown",
    "Born",
    "Borne",
    "Bought",
    "Bound",
    "Broken",
    "Brought",
    "Built",
    "Burnt",
    "Caught",
    "Chosen",
    "Cut",
    "Done",
    "Drawn",
    "Driven",
    "Dug",
    "Eaten",
    "Fallen",
    "Fed",
    "Felt",
    "Found",
    "Forgotten",
    "Frozen",
    "Given",
    "Gone",
    "Grown",
    "Heard",
    "Held",
    "Hidden",
    "Hung",
    "Kept",
    "Known",
    "Laid",
    "Led",
    "Left",
    "Lent",
    "Lost",
    "Made",
    "Meant",
    "Met",
    "Paid",
    "Put",
    "Ridden",
    "Risen",
    "Said",
    "Seen",
    "Sent",
    "Shaken",
    "Shown",
    "Shut",
    "Sold",
    "Sought",
    "Spent",
    "Split",
    "Spoken",
    "Spun",
    "Stolen",
    "Struck",
    "Stuck",
    "Sunk",
    "Swept",
    "Sworn",
    "Taken",
    "Taught",
    "Thrown",
    "Told",
    "Torn",
    "Understood",
    "Woken",
    "Won",
    "Worn",
    "Written",
];

/// Nouns that end in "ed".
const NOUNS_IN_ED: [&str; 10] =
    ["Bed", "Breed", "Creed", "Deed", "Embed", "Feed", "Need", "Seed", "Shed", "Speed"];

/// True if `name` is one word and that word is a past participle ("Asked", "Put").
pub(super) fn is_bare_participle(name: &str) -> bool {
    let one_word = name.chars().filter(|c| c.is_uppercase()).count() == 1;
    let regular = name.ends_with("ed") && !NOUNS_IN_ED.contains(&name);
    one_word && (regular || IRREGULAR.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participles_are_single_words() {
        assert!(is_bare_participle("Asked") && is_bare_participle("Put"));
        assert!(
            !is_bare_participle("Seed")
                && !is_bare_participle("ScoredTurn")
                && !is_bare_participle("Report")
        );
    }

    #[test]
    fn test_modules_do_not_define_names() {
        let text = "struct A; mod b { enum A {} } #[cfg(test)] mod tests { struct A; } fn f() { struct A; }";
        let mut found = Vec::new();
        collect("x.rs", &syn::parse_file(text).unwrap().items, &mut found);
        assert_eq!(shared(&found)["A"], ["x.rs:1", "x.rs:1"]);
    }
}
