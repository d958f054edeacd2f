//! The known word that an unknown one is a slip of.

/// The nearest of `known`, if any is near.
pub(crate) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    if text.chars().count() > 40 {
        return None;
    }
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key_and_a_stranger_finds_none() {
        assert_eq!(nearest("pionts", &["points", "per"]), Some("points"));
        assert_eq!(nearest("weight", &["points", "per"]), None);
    }
}
