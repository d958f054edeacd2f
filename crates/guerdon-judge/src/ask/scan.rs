//! Scans of text for JSON, in linear time: the end of an object, and commas that JSON does not
//! allow.

use std::borrow::Cow;

/// Steps that every scan may take, however short its text is.
const LEAST_STEPS: usize = 1 << 18;
/// Steps for each byte of the text.
const STEPS: usize = 4;

/// A bounded search for objects. Each open brace that is never closed costs a scan to the end, so
/// a crafted text of many would cost quadratic time.
#[derive(Debug)]
pub(crate) struct Scan {
    steps: usize,
}

impl Scan {
    /// A search in `text`.
    pub(crate) const fn of(text: &str) -> Self {
        Self { steps: LEAST_STEPS.saturating_add(text.len().saturating_mul(STEPS)) }
    }

    /// The length of the object at the start of `text`, which begins with a brace, or 0 if its
    /// braces are never closed. `None` if the search has no steps left.
    pub(crate) fn object_end(&mut self, text: &str) -> Option<usize> {
        let (mut depth, mut state) = (0_usize, InText::default());
        for (at, byte) in text.bytes().enumerate() {
            self.steps = self.steps.checked_sub(1)?;
            if state.is_in_string(byte) {
                continue;
            }
            match byte {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                return Some(at + 1);
            }
        }
        Some(0)
    }
}

/// The position relative to JSON's strings.
#[derive(Debug, Default, Clone, Copy)]
struct InText {
    in_string: bool,
    escaped: bool,
}

impl InText {
    /// Takes the next byte in, and returns true if it belongs to a string.
    const fn is_in_string(&mut self, byte: u8) -> bool {
        if !self.in_string {
            self.in_string = byte == b'"';
            return self.in_string;
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
        }
        true
    }
}

/// `text` without commas before a closing brace or bracket, which some judges write.
pub(crate) fn without_trailing_commas(text: &str) -> Cow<'_, str> {
    let mut state = InText::default();
    // The last comma outside of strings with only white space behind it.
    let mut comma = None;
    let mut commas = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        if state.is_in_string(byte) {
            comma = None;
            continue;
        }
        match byte {
            b',' => comma = Some(at),
            b'}' | b']' => commas.extend(comma.take()),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => comma = None,
        }
    }
    if commas.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    for comma in commas {
        clean.push_str(text.get(from..comma).unwrap_or_default());
        from = comma + 1;
    }
    clean.push_str(text.get(from..).unwrap_or_default());
    clean.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_an_object_is_found_behind_its_strings() {
        let end = |text: &str| Scan::of(text).object_end(text).unwrap();
        assert_eq!(end(r#"{"a": "}", "b": {"c": "\"}"}} x"#), 29);
        assert_eq!((end("{}{}"), end("{ never"), end("{\"a\": \"}")), (2, 0, 0));
    }

    #[test]
    fn a_search_ends_when_its_steps_are_used_up() {
        let text = "{".repeat(200_000);
        let mut scan = Scan::of(&text);
        let found: Vec<_> = (0..20).map(|_| scan.object_end(&text)).collect();
        assert_eq!((found[0], found[19]), (Some(0), None));
    }

    #[test]
    fn trailing_commas_are_removed_outside_of_strings() {
        let text = r#"{"a": [1, 2, ], "b": "x,}", "c": {"d": 1,} ,}"#;
        let clean = r#"{"a": [1, 2 ], "b": "x,}", "c": {"d": 1} }"#;
        assert_eq!(without_trailing_commas(text), clean);
        assert_eq!(without_trailing_commas("no, commas}"), "no, commas}");
    }

    proptest! {
        #[test]
        fn json_stays_as_it_is(text in ".{0,60}", number in any::<i32>()) {
            let json = serde_json::json!({"a": text, "b": [number, {"c": null}]}).to_string();
            prop_assert_eq!(without_trailing_commas(&json), json.as_str());
            prop_assert_eq!(Scan::of(&json).object_end(&json), Some(json.len()));
        }
    }
}
