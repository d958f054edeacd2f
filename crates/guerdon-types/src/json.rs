//! Parses JSON into typed values; errors have a JSON pointer to the first invalid value.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_path_to_error::Segment;

use crate::{Invalid, ProblemCode};

/// The longest detail of a parse error, in characters. The parser quotes keys and values of the
/// body, which may be as long as the body.
const DETAIL_CHARS: usize = 500;

/// The longest pointer, in characters. It contains keys of the body, which may be long.
const POINTER_CHARS: usize = 500;

/// Parses `bytes` as one JSON value of type `T`.
///
/// ```
/// use guerdon_types::{ProblemCode, Rollout, parse_json};
///
/// let invalid = parse_json::<Rollout>(br#"{"mesages": []}"#).unwrap_err();
/// assert_eq!(invalid.code, ProblemCode::InvalidRequest);
/// assert_eq!(invalid.hint.as_deref(), Some("did you mean `messages`?"));
/// ```
///
/// # Errors
/// [`Invalid`] with the code `malformed_json` if `bytes` are not one JSON value, and with
/// `invalid_request` if the value does not fit `T`. The latter has a pointer to the value and, for
/// a misspelt name, the nearest known one.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Invalid> {
    parse_borrowed(bytes)
}

/// As [`parse_json`], for a type that borrows from `bytes`.
pub(crate) fn parse_borrowed<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Invalid> {
    parse_part(bytes).map_err(|(mut invalid, (line, column))| {
        if invalid.code == ProblemCode::MalformedJson {
            invalid.detail.push_str(&format!(" at line {line} column {column}"));
        }
        invalid
    })
}

/// As [`parse_json`], for a part of a body. Returns the line and column in the part separately
/// from the error, because the sender of the whole body cannot use them.
pub(crate) fn parse_part<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<T, (Invalid, (usize, usize))> {
    parse(bytes).map_err(|(mut pointer, error)| {
        if error.classify() != Category::Data
            && let Err((exact, same)) = parse::<AnyValue>(bytes)
            && place(&same) == place(&error)
        {
            // A type that skips parts of the text reports a shorter path than `AnyValue`.
            pointer = exact;
        }
        (invalid(bytes, &pointer, &error), place(&error))
    })
}

fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, (String, serde_json::Error)> {
    // Only an error needs the path, whose keys are copied.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| (pointer(error.path()), error.into_inner()))?;
    deserializer.end().map_err(|error| (String::new(), error))?;
    Ok(value)
}

fn place(error: &serde_json::Error) -> (usize, usize) {
    (error.line(), error.column())
}

/// Any JSON value, read element by element so that a syntax error has a path.
struct AnyValue;

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<String, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Reads an object or `null`. A derived struct would also read a list, as its fields in their order.
///
/// # Errors
/// The value is neither, or does not fit `T`.
pub(crate) fn optional_object<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(OptionalObject(PhantomData))
}

/// As [`optional_object`], without `null`.
///
/// # Errors
/// The value is no object, or does not fit `T`.
pub(crate) fn object<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    optional_object(deserializer)?
        .ok_or_else(|| D::Error::invalid_type(Unexpected::Other("null"), &"an object"))
}

struct OptionalObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OptionalObject<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    guerdon_text::cut(&pointer, POINTER_CHARS).into_owned()
}

fn invalid(bytes: &[u8], pointer: &str, error: &serde_json::Error) -> Invalid {
    if error.classify() == Category::Data {
        let invalid = Invalid::new(ProblemCode::InvalidRequest, pointer, message(error));
        return match unknown_name_hint(&error.to_string()) {
            Some(hint) => invalid.hint(hint),
            None => invalid,
        };
    }
    let hint = if is_non_finite_number(bytes, error) {
        "NaN and infinity are not JSON; send null, or leave the value out"
    } else {
        "check the body with a JSON linter; line and column are counted in the decompressed body"
    };
    Invalid::new(ProblemCode::MalformedJson, pointer, message(error)).hint(hint)
}

/// The error's message, at most [`DETAIL_CHARS`] long, without the line and column that serde_json
/// appends.
pub(crate) fn message(error: &serde_json::Error) -> String {
    let shown = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = shown.strip_suffix(&position).unwrap_or(&shown);
    without_type_names(&guerdon_text::cut(message, DETAIL_CHARS))
}

/// Phrases of serde that end in the name of a Rust type, each with the words of the API.
const TYPE_PHRASES: [(&str, &str); 5] = [
    ("expected struct ", "expected an object"),
    (
        "data did not match any variant of untagged enum ",
        "the value has none of the forms that are read here",
    ),
    ("no variant of enum ", "a required field is missing"),
    ("expected enum ", "expected one of the known words"),
    ("expected internally tagged enum ", "expected an object"),
];

/// The message without the names of types, which are no part of the API.
fn without_type_names(message: &str) -> String {
    // Values of the body are quoted in marks, and phrases of serde stand outside of them.
    let found = TYPE_PHRASES.iter().find_map(|(phrase, words)| {
        let at = message.find(phrase)?;
        let before = message.get(..at)?;
        let is_outside = before.matches(['`', '"']).count() % 2 == 0;
        let after = message.get(at + phrase.len()..)?;
        is_outside.then_some((before, *words, after))
    });
    let Some((before, words, after)) = found else { return message.to_owned() };
    let after = after.trim_start_matches(|c: char| c.is_alphanumeric() || "_:<>".contains(c));
    let after = after.strip_prefix(" found in flattened data").unwrap_or(after);
    let elements = after.strip_prefix(" with ").and_then(|rest| rest.split_once(" element"));
    let after = elements.map_or(after, |(_, rest)| rest.strip_prefix('s').unwrap_or(rest));
    format!("{before}{words}{after}")
}

/// True if the text at the error is NaN or infinity as Python's `json.dumps` writes them, or a
/// number beyond the range of `f64`. serde_json reports these as syntax errors without a category
/// of their own, so this function inspects the text.
fn is_non_finite_number(bytes: &[u8], error: &serde_json::Error) -> bool {
    let Some(line) = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)) else {
        return false;
    };
    let column = error.column().min(line.len());
    let around = &line[column.saturating_sub(2)..line.len().min(column + 10)];
    let has = |word: &[u8]| around.windows(word.len()).any(|window| window == word);
    has(b"NaN") || has(b"Inf") || ends_in_exponent(&line[..column])
}

/// True if `text` ends in a number with an exponent, such as `1e999`.
fn ends_in_exponent(text: &[u8]) -> bool {
    let is_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    // The error is reported at the end of the number or one byte after it.
    let end = text.iter().rposition(is_number).map_or(0, |last| last + 1);
    let start = text[..end].iter().rposition(|byte| !is_number(byte)).map_or(0, |at| at + 1);
    text.len() - end <= 1 && text[start..end].iter().any(|byte| matches!(byte, b'e' | b'E'))
}

/// The hint for a misspelt name in a message of serde, such as "unknown field `lisen`, expected one
/// of `listen`, `drain`": the nearest of the expected names, if one is near. serde reports these
/// names only in the message.
///
/// ```
/// let message = "unknown field `lisen`, expected one of `listen`, `drain`";
/// let hint = guerdon_types::unknown_name_hint(message);
/// assert_eq!(hint.as_deref(), Some("did you mean `listen`?"));
/// ```
#[must_use]
pub fn unknown_name_hint(message: &str) -> Option<String> {
    // The unknown name is a caller's and may hold any text; the expected names come last.
    let (before, expected) = message.rsplit_once("`, expected ")?;
    let unknown = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|what| before.split_once(what).map(|(_, unknown)| unknown))?;
    guerdon_text::did_you_mean(unknown, expected.split('`').skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScoreRequest;

    fn refused(json: &str) -> Invalid {
        parse_json::<ScoreRequest>(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn unknown_role_is_pointed_at_with_the_nearest_one() {
        let invalid =
            refused(r#"{"rollouts": [{"messages": [{"role": "asistant", "content": "a"}]}]}"#);
        assert_eq!(invalid.pointer, "/rollouts/0/messages/0/role");
        assert_eq!(invalid.code, ProblemCode::InvalidRequest);
        assert_eq!(invalid.hint.as_deref(), Some("did you mean `assistant`?"));
    }

    #[test]
    fn unknown_field_is_pointed_at_with_the_nearest_one() {
        let invalid = refused(r#"{"rollouts": [{"mesages": []}]}"#);
        assert!(invalid.pointer.starts_with("/rollouts/0"), "{}", invalid.pointer);
        assert_eq!(invalid.hint.as_deref(), Some("did you mean `messages`?"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_named_in_the_hint() {
        for number in ["NaN", "Infinity", "-Infinity", "1e999", "-1.5E400"] {
            let invalid = refused(&format!(
                r#"{{"rollouts": [{{"messages": [{{"role": "assistant", "content": "a"}}], "context": {{"target_price": {number}}}}}]}}"#
            ));
            assert_eq!(invalid.code, ProblemCode::MalformedJson, "{number}");
            assert!(invalid.hint.as_deref().unwrap().contains("NaN"), "{number}: {invalid:?}");
        }
        let after_exponent = r#"{"rollouts": [{"messages": [], "context": {"a": 1e5 x}}]}"#;
        assert!(!refused(after_exponent).hint.unwrap().contains("NaN"));
        assert!(!refused(r#"{"rollouts": ["#).hint.unwrap().contains("NaN"));
    }

    #[test]
    fn wrong_score_choice_names_the_choices() {
        let invalid = refused(r#"{"rollouts": [{"messages": [], "score": "first"}]}"#);
        assert_eq!(invalid.pointer, "/rollouts/0/score");
        assert!(invalid.detail.contains("\"last\", \"all\" or a list"), "{}", invalid.detail);
    }

    #[test]
    fn text_after_the_value_is_refused() {
        assert_eq!(refused(r#"{"rollouts": []} x"#).code, ProblemCode::MalformedJson);
    }

    #[test]
    fn names_in_a_key_are_not_taken_for_expected_names() {
        for key in [
            "rolloutz`, `rollouty",
            "rolloutz`, expected one of `rollouty`, `x",
            "unknown field `rolloutz",
            "`",
        ] {
            let body = serde_json::json!({ "rollouts": [], key: 1 }).to_string();
            let hint = refused(&body).hint.unwrap_or_default();
            assert!(!hint.contains("rollouty") && !hint.contains("rolloutz"), "{key}: {hint}");
        }
        assert_eq!(refused(r#"{"rollout": []}"#).hint.unwrap(), "did you mean `rollouts`?");
    }

    #[test]
    fn names_of_types_are_not_shown() {
        for (message, wanted) in [
            (
                "invalid type: sequence, expected struct PredictRequest",
                "invalid type: sequence, expected an object",
            ),
            (
                "invalid length 0, expected struct ScoreRequest with 6 elements",
                "invalid length 0, expected an object",
            ),
            (
                "data did not match any variant of untagged enum PredictInputs",
                "the value has none of the forms that are read here",
            ),
            ("no variant of enum Replies found in flattened data", "a required field is missing"),
            (
                "unknown field `expected struct A`, expected `b`",
                "unknown field `expected struct A`, expected `b`",
            ),
        ] {
            assert_eq!(without_type_names(message), wanted);
        }
    }

    #[test]
    fn long_keys_are_cut_in_detail_and_pointer() {
        let key = "k".repeat(1 << 20);
        let invalid = refused(&format!(r#"{{"rollouts": [], "{key}": 1}}"#));
        assert!(invalid.detail.len() + invalid.pointer.len() < 3_000);
    }
}
