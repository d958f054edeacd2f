//! Halves of surrogate pairs in JSON texts. Python and JavaScript write them when a text was cut
//! within a character such as an emoji.

/// The escape of U+FFFD without its backslash and `u`.
const REPLACEMENT: &[u8; 4] = b"fffd";

/// U+FFFD in UTF-8.
const REPLACEMENT_BYTES: &[u8; 3] = b"\xef\xbf\xbd";

/// `json` with U+FFFD in place of every half of a surrogate pair, written as an escape or as bytes.
/// `None` if there is no such half. The length stays the same. Takes linear time.
///
/// ```
/// let cut = br#"["Hi \ud83d", "\ud83d\ude42"]"#;
/// let mended = guerdon_types::without_lone_surrogates(cut).unwrap();
/// assert_eq!(mended, br#"["Hi \ufffd", "\ud83d\ude42"]"#);
/// assert_eq!(guerdon_types::without_lone_surrogates(&mended), None);
/// ```
#[must_use]
pub fn without_lone_surrogates(json: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(rest) = json.get(at..).filter(|rest| !rest.is_empty()) {
        let (step, lone): (usize, Option<(usize, &[u8])>) = match rest {
            [b'\\', b'u', ..] => match (escaped_unit(rest), rest.get(6..).and_then(escaped_unit)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
                (Some(0xd800..=0xdfff), _) => (6, Some((2, REPLACEMENT))),
                _ => (2, None),
            },
            [b'\\', _, ..] => (2, None),
            // The bytes of a surrogate, which UTF-8 does not have.
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => (3, Some((0, REPLACEMENT_BYTES))),
            _ => (1, None),
        };
        if let Some((offset, replacement)) = lone {
            let place = at + offset..at + offset + replacement.len();
            if let Some(bytes) = mended.get_or_insert_with(|| json.to_vec()).get_mut(place) {
                bytes.copy_from_slice(replacement);
            }
        }
        at += step;
    }
    mended
}

/// The UTF-16 unit of the escape that `text` begins with.
fn escaped_unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(json: &str) -> Option<String> {
        without_lone_surrogates(json.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn only_halves_without_their_other_half_are_replaced() {
        for (json, wanted) in [
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (r#""\uD83D\uD83D\uDE42""#, Some(r#""\ufffd\uD83D\uDE42""#)),
            (r#""\ude42\ud83d""#, Some(r#""\ufffd\ufffd""#)),
            (r#""\ud83d\ude42""#, None),
            (r#""\\\\ud83d""#, None),
            (r#""\u4f60 plain""#, None),
            (r#""\ud8""#, None),
            ("", None),
        ] {
            assert_eq!(mended(json).as_deref(), wanted, "{json}");
        }
        let bytes = b"\"\xed\xa0\xbd\"";
        assert_eq!(without_lone_surrogates(bytes).unwrap(), "\"\u{fffd}\"".as_bytes());
    }

    proptest! {
        /// Texts of any units become JSON that serde reads, to what a lossy decoder makes of them.
        #[test]
        fn any_units_become_json(units in proptest::collection::vec(
            prop_oneof![0xd7f0_u16..0xe010, 0x20_u16..0x80, any::<u16>()], 0..20)) {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{escapes}\"").into_bytes();
            let mended = without_lone_surrogates(&json).unwrap_or(json);
            let read: String = serde_json::from_slice(&mended).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }
    }
}
