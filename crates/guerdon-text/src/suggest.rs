//! Spelling suggestions for unknown keys and names: "did you mean".

/// Longest name that is compared, in characters. Comparing costs the product of the two lengths,
/// and the names can come from a client.
const MAX_CHARS: usize = 64;

/// The entry of `known` nearest to `given`, if one is near enough to be meant.
///
/// The measure is the Damerau-Levenshtein distance, in which a swap of neighbours counts once. It
/// may be at most a third of the entry's length, and 1 for entries of up to 5 characters. Among
/// equally near entries, the first in alphabetical order is returned.
///
/// ```
/// assert_eq!(guerdon_text::nearest("pionts", ["points", "per"]), Some("points"));
/// assert_eq!(guerdon_text::nearest("weight", ["points", "per"]), None);
/// ```
#[must_use]
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let length = |text: &str| text.chars().take(MAX_CHARS + 1).count();
    if length(given) > MAX_CHARS {
        return None;
    }
    known
        .into_iter()
        .filter_map(|entry| {
            let limit = Some(length(entry)).filter(|length| *length <= MAX_CHARS)?.max(3) / 3;
            let distance = strsim::damerau_levenshtein(given, entry);
            (distance <= limit).then_some((distance, entry))
        })
        .min()
        .map(|(_, entry)| entry)
}

/// The hint for an unknown name: ``did you mean `points`?``, if an entry of `known` is near.
///
/// ```
/// let hint = guerdon_text::did_you_mean("pionts", ["points", "per"]);
/// assert_eq!(hint.as_deref(), Some("did you mean `points`?"));
/// ```
#[must_use]
pub fn did_you_mean<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    nearest(given, known).map(|entry| format!("did you mean `{entry}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_drops_and_additions_are_near() {
        for given in ["pionts", "pints", "pointss", "poins"] {
            assert_eq!(nearest(given, ["per", "points"]), Some("points"), "{given}");
        }
    }

    #[test]
    fn short_names_allow_one_difference() {
        assert_eq!(nearest("pre", ["per"]), Some("per"));
        assert_eq!(nearest("xyr", ["per"]), None);
        assert_eq!(nearest("", ["id"]), None);
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(nearest("语气", ["语调"]), Some("语调"));
        assert_eq!(nearest("abc", ["语调法"]), None);
    }

    #[test]
    fn a_far_entry_does_not_hide_a_near_one() {
        // `ab` is nearer than `abcdefghi` in absolute terms, and too far for its length.
        assert_eq!(nearest("abcdef", ["ab", "abcdefghi"]), Some("abcdefghi"));
    }

    #[test]
    fn long_names_are_not_compared() {
        let long = "a".repeat(100_000);
        assert_eq!(nearest(&long, ["a"]), None);
        assert_eq!(nearest("a", [long.as_str()]), None);
    }
}
