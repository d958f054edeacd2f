//! The reply of a function: one result for each turn, read one by one, so that a wrong one
//! silences its own turn only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_types::{AbstainWhy, Finite};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ask::{BatchReply, Silence, TurnAnswer};

/// The longest version, in characters.
const MAX_VERSION: usize = 256;
/// The largest number of components of one turn.
const MAX_COMPONENTS: usize = 256;
/// The longest name of a component, in characters.
const MAX_NAME: usize = 128;
/// The largest number of spans of one turn.
const MAX_SPANS: usize = 1024;
/// The largest `detail` of one turn, in bytes of JSON.
const MAX_DETAIL: usize = 16 << 10;

#[derive(Deserialize)]
struct FunctionReply<'a> {
    #[serde(default)]
    version: Option<String>,
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// The result of one turn.
#[derive(Deserialize)]
struct FunctionResult<'a> {
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    abstain: Option<Cow<'a, str>>,
    #[serde(default)]
    components: BTreeMap<String, f64>,
    #[serde(default)]
    spans: Vec<[usize; 2]>,
    #[serde(default)]
    veto: bool,
    #[serde(default, borrow)]
    detail: Option<&'a RawValue>,
}

/// Reads a reply.
///
/// # Errors
/// The fault of a body that is not a reply.
pub(super) fn read(body: &[u8]) -> Result<BatchReply, String> {
    let cleaned;
    let reply: FunctionReply<'_> = match serde_json::from_slice(body) {
        Ok(reply) => reply,
        Err(error) => {
            let fault = || format!("the reply is not `{{\"version\", \"results\"}}`: {error}");
            cleaned = without_bare_numbers(body).ok_or_else(fault)?;
            serde_json::from_slice(&cleaned).map_err(|_| fault())?
        }
    };
    if reply.version.as_ref().is_some_and(|version| version.chars().count() > MAX_VERSION) {
        return Err(format!("`version` is longer than {MAX_VERSION} characters"));
    }
    let version: Option<Arc<str>> = reply.version.map(Into::into);
    let answers = reply.results.iter().map(|result| read_result(result)).collect();
    Ok(BatchReply { version, answers })
}

fn read_result(raw: &RawValue) -> Result<TurnAnswer, Silence> {
    let malformed = |detail: String| Err(Silence::malformed(detail));
    let result: FunctionResult<'_> = match serde_json::from_str(raw.get()) {
        Ok(result) if raw.get().starts_with('{') => result,
        Ok(_) => return malformed("a result is not an object".to_owned()),
        Err(error) => return malformed(format!("a result cannot be read: {error}")),
    };
    let FunctionResult { value, abstain, components, spans, veto, detail } = result;
    let value = match (value, abstain) {
        (Some(_), Some(_)) => {
            return malformed("a result has both `value` and `abstain`".to_owned());
        }
        (None, Some(reason)) => return Err(Silence::new(AbstainWhy::Refused, reason)),
        (value, None) => value.and_then(|value| Finite::new(value).ok()),
    };
    let Some(value) = value else {
        return malformed("`value` is missing or not finite".to_owned());
    };
    if components.len() > MAX_COMPONENTS
        || components.keys().any(|name| name.chars().count() > MAX_NAME)
    {
        return malformed(format!(
            "`components` has more than {MAX_COMPONENTS} entries or a name beyond {MAX_NAME} characters"
        ));
    }
    let finite =
        components.into_iter().map(|(name, value)| Finite::new(value).map(|value| (name, value)));
    let Ok(components) = finite.collect::<Result<BTreeMap<_, _>, _>>() else {
        return malformed("a component is not finite".to_owned());
    };
    if spans.len() > MAX_SPANS || spans.iter().any(|[start, end]| start > end) {
        return malformed(format!(
            "`spans` has more than {MAX_SPANS} ranges, or one that ends before it starts"
        ));
    }
    let detail = match detail.map(RawValue::get) {
        None => Value::Null,
        Some(text) if text.len() > MAX_DETAIL => {
            Value::from(format!("left out: {} bytes, of at most {MAX_DETAIL}", text.len()))
        }
        Some(text) => serde_json::from_str(text).unwrap_or_default(),
    };
    Ok(TurnAnswer { value, components, spans, veto, detail, version: None })
}

/// The body with `null` for the words `NaN`, `Infinity` and `-Infinity` outside of strings, which
/// Python's `json` writes; `None` if there is none.
fn without_bare_numbers(body: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut cleaned = Vec::with_capacity(body.len());
    let (mut rest, mut in_text, mut found) = (body, false, false);
    while let Some((&byte, after)) = rest.split_first() {
        if !in_text && let Some(word) = WORDS.iter().find(|word| rest.starts_with(word)) {
            cleaned.extend_from_slice(b"null");
            rest = rest.get(word.len()..).unwrap_or_default();
            found = true;
            continue;
        }
        cleaned.push(byte);
        rest = after;
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                if let Some((&escaped, after)) = rest.split_first() {
                    cleaned.push(escaped);
                    rest = after;
                }
            }
            _ => {}
        }
    }
    found.then_some(cleaned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(body: &str) -> Vec<Option<f64>> {
        let reply = read(body.as_bytes()).unwrap();
        reply
            .answers
            .iter()
            .map(|answer| answer.as_ref().ok().map(|answer| answer.value.get()))
            .collect()
    }

    #[test]
    fn a_result_has_a_value_with_its_explanation_or_a_reason() {
        let body = json!({ "version": "7", "results": [
            { "value": -12.5, "components": { "margin": 3.0 }, "spans": [[4, 9]], "veto": true, "detail": { "a": [1] } },
            { "abstain": "no price in the dialogue" },
            { "value": null, "abstain": "none" },
        ]});
        let reply = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(reply.version.as_deref(), Some("7"));
        let first = reply.answers[0].as_ref().unwrap();
        assert_eq!(first.value.get().to_bits(), (-12.5f64).to_bits());
        assert_eq!(first.components["margin"], Finite::from(3));
        assert_eq!((&first.spans[..], first.veto), (&[[4, 9]][..], true));
        assert_eq!(first.detail, json!({ "a": [1] }));
        let silence = reply.answers[1].as_ref().unwrap_err();
        assert_eq!(
            (silence.why, &silence.detail[..]),
            (AbstainWhy::Refused, "no price in the dialogue")
        );
        assert!(reply.answers[2].is_err());
    }

    #[test]
    fn a_wrong_result_silences_its_own_turn_only() {
        for wrong in [
            "3",
            "null",
            "[]",
            "{}",
            r#"{"value":"3"}"#,
            r#"{"value":1e999}"#,
            r#"{"value":NaN}"#,
            r#"{"value":-Infinity}"#,
            r#"{"value":1,"abstain":"x"}"#,
            r#"{"value":1,"spans":[[3,1]]}"#,
            r#"{"value":1,"components":{"a":NaN}}"#,
            r#"{"value":1,"veto":"yes"}"#,
            r#"{"valu":1}"#,
        ] {
            let body = format!(r#"{{"results":[{{"value":1}},{wrong},{{"value":2}}]}}"#);
            assert_eq!(values(&body), [Some(1.0), None, Some(2.0)], "{wrong}");
            let why = read(body.as_bytes()).unwrap().answers[1].as_ref().unwrap_err().why;
            assert_eq!(why, AbstainWhy::Malformed, "{wrong}");
        }
    }

    #[test]
    fn a_body_that_is_no_reply_is_a_fault() {
        for body in
            ["", "NaN", "<html>", "[]", "{}", r#"{"results":3}"#, r#"{"version":3,"results":[]}"#]
        {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let long = format!(r#"{{"version":"{}","results":[]}}"#, "v".repeat(300));
        assert!(read(long.as_bytes()).is_err());
    }

    #[test]
    fn a_large_detail_is_left_out() {
        let body = json!({ "results": [{ "value": 1, "detail": "x".repeat(20_000) }] });
        let reply = read(body.to_string().as_bytes()).unwrap();
        let detail = &reply.answers[0].as_ref().unwrap().detail;
        assert!(detail.as_str().unwrap().starts_with("left out"), "{detail}");
    }

    proptest! {
        #[test]
        fn words_in_texts_are_kept(text in "(NaN|Infinity|-Infinity|\"|\\\\|a){0,8}") {
            let text = Value::from(text);
            let body = format!(r#"{{"results":[{{"value":1,"detail":{text}}},{{"value":NaN}}]}}"#);
            let reply = read(body.as_bytes()).unwrap();
            prop_assert_eq!(&reply.answers[0].as_ref().unwrap().detail, &text);
            prop_assert!(reply.answers[1].is_err());
        }

        #[test]
        fn no_body_panics(body in "\\PC{0,60}") {
            let _ = read(body.as_bytes());
        }
    }
}
