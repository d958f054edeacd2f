//! The body of `POST /v1/score`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json::{message, optional_object, parse_borrowed};
use crate::{
    ConfigDigest, ExtraFields, Finite, FusionPatch, Invalid, ProblemCode, ProfileName, Rollout,
    RolloutEntry, SourceId, refuse_shared_ids,
};

/// The largest number of values in the contexts of one request together. A value takes about 32 to
/// 100 bytes of memory, which can be many times its text.
const MAX_CONTEXT_VALUES: usize = 2_000_000;

/// Rollouts to score, with the settings of the request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// The dialogues; an empty list gives an empty reply.
    pub rollouts: Vec<Rollout>,
    /// A subset of the profile's sources. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceId>>,
    /// A named set of reward model, judge prompts, rule packs and fusion. Default: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// Changes to the profile's fusion, for this request only.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_object"
    )]
    pub fusion: Option<FusionPatch>,
    /// Requests group advantages in the same reply.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_object"
    )]
    pub advantages: Option<AdvantagesRequest>,
    /// The time limit in milliseconds. A source that has not answered by then abstains with
    /// `why = "deadline"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub deadline_ms: Option<u64>,
    /// The configuration that must serve. If another one serves, the request is refused with the
    /// code `conflict` (HTTP 409). Default: any.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_object"
    )]
    pub expect: Option<Expectation>,
    /// Handling of fields that a rollout does not have, such as the columns of a data set.
    /// Default: they are an error of their rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_fields: Option<ExtraFields>,
    /// The run that the rollouts belong to, such as `exp-12`, of at most 200 bytes: a label for the
    /// ledger, as `step` and `split` are. Default: the header `x-guerdon-run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The step of the run. Default: the header `x-guerdon-step`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The part of the data, such as `train` or `eval`, of at most 200 bytes. Default: the header
    /// `x-guerdon-split`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// The longest label, in bytes.
const MAX_LABEL_BYTES: usize = 200;

/// The configuration that a request expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The digest of the request's profile, as in `versions.digest` of a reply and in
    /// `GET /v1/info`. Changes of `fusion` and `sources` in the request do not change it.
    pub digest: ConfigDigest,
    /// The digests of further profiles that rollouts name, as in `profiles` of a reply. A profile
    /// that is not listed may have any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub profiles: BTreeMap<ProfileName, ConfigDigest>,
}

impl Expectation {
    /// Expects `digest` for the request's profile.
    #[must_use]
    pub const fn new(digest: ConfigDigest) -> Self {
        Self { digest, profiles: BTreeMap::new() }
    }
}

/// The advantages to compute from the rewards.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AdvantagesRequest {
    /// `grpo`, `dr_grpo`, `rloo`, `batch_std`, `pass_at_k`, `gpg`, `gdpo`, `opo`, `remax`,
    /// `reinforce_plus_plus` or `reinforce_plus_plus_baseline`.
    pub estimator: String,
    /// `gdpo`: the weights of sources, by name, 0 or more. Default: those of the fusion.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<SourceId, Finite>,
    /// `gdpo`: the rewards that are compared by themselves before they are added. Default: `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<AdvantageUnit>,
    /// `opo`: the number of tokens of each rollout's reply, in the order of `rollouts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lengths: Vec<u32>,
    /// `remax`: the reward of the greedy answer to each rollout's prompt, in the order of
    /// `rollouts`; `null` if it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Option<Finite>>,
}

/// The rewards that `gdpo` compares by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdvantageUnit {
    /// One reward for each source.
    Source,
    /// One reward for each criterion of a judge, and for each other source.
    Criterion,
}

impl AdvantagesRequest {
    /// A request for the advantages of `estimator`, without numbers of the caller.
    pub fn new(estimator: impl Into<String>) -> Self {
        Self { estimator: estimator.into(), ..Self::default() }
    }
}

impl ScoreRequest {
    /// Checks the request as a whole. Rollouts are checked one by one when the request is served:
    /// see [`IncomingRequest`].
    ///
    /// # Errors
    /// [`Invalid`] with a JSON pointer to the invalid value.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.deadline_ms == Some(0) {
            return Err(Invalid::new(
                ProblemCode::InvalidRequest,
                "/deadline_ms",
                "a deadline of 0 ms scores nothing",
            )
            .hint("leave `deadline_ms` out, or give it a positive number of milliseconds"));
        }
        for (pointer, label) in [("/run", &self.run), ("/split", &self.split)] {
            if label.as_ref().is_some_and(|label| label.len() > MAX_LABEL_BYTES) {
                let detail = format!("longer than {MAX_LABEL_BYTES} bytes");
                return Err(Invalid::new(ProblemCode::InvalidRequest, pointer, detail)
                    .hint("send a shorter label"));
            }
        }
        Ok(())
    }
}

/// A score request that a server received. Every rollout was parsed and checked on its own, so that
/// an invalid one does not fail the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IncomingRequest {
    /// The rollouts, in the request's order.
    pub entries: Vec<RolloutEntry>,
    /// Everything else. Its `rollouts` are empty.
    pub settings: ScoreRequest,
}

impl IncomingRequest {
    /// Parses the body of `POST /v1/score`. Takes time and memory linear in the size of `bytes`.
    ///
    /// ```
    /// use guerdon_types::IncomingRequest;
    ///
    /// let body = br#"{"rollouts": [
    ///     {"messages": [{"role": "assistant", "content": "480 is fine."}]},
    ///     {"messages": [{"role": "assistent", "content": "480 is fine."}]}]}"#;
    /// let request = IncomingRequest::parse(body, 4096)?;
    /// assert!(request.entries[0].rollout.is_ok());
    /// assert_eq!(request.entries[1].rollout.as_ref().unwrap_err().pointer, "/messages/0/role");
    /// # Ok::<(), guerdon_types::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`] if `bytes` are not JSON, are not an object with a list of `rollouts`, or have an
    /// unknown or invalid setting; `too_large` for more than `max_rollouts` rollouts. An invalid
    /// rollout is not an error of the request; its entry has the error.
    pub fn parse(bytes: &[u8], max_rollouts: usize) -> Result<Self, Invalid> {
        refuse_list(bytes)?;
        let raw: RawScoreRequest = parse_borrowed(bytes)?;
        let RawScoreRequest {
            rollouts,
            sources,
            profile,
            fusion,
            advantages,
            deadline_ms,
            expect,
            extra_fields,
            run,
            step,
            split,
        } = raw;
        let mut array = serde_json::Deserializer::from_str(rollouts.get());
        let (texts, count) =
            EntryTexts { max: max_rollouts }.deserialize(&mut array).map_err(|error| {
                Invalid::new(ProblemCode::InvalidRequest, "/rollouts", message(&error))
            })?;
        check_count(count, max_rollouts).map_err(|invalid| invalid.below("/rollouts"))?;
        let mut left = MAX_CONTEXT_VALUES;
        let parse = |text: &&RawValue| {
            let mut entry = RolloutEntry::parse_with(text.get(), extra_fields);
            entry.take_values(&mut left);
            entry
        };
        let mut entries: Vec<_> = texts.iter().map(parse).collect();
        refuse_shared_ids(&mut entries);
        let rollouts = Vec::new();
        let settings = ScoreRequest {
            rollouts,
            sources,
            profile,
            fusion,
            advantages,
            deadline_ms,
            expect,
            extra_fields,
            run,
            step,
            split,
        };
        Ok(Self { entries, settings })
    }

    /// Checks the number of rollouts.
    ///
    /// # Errors
    /// `too_large` for more than `max_rollouts`.
    pub fn check_count(&self, max_rollouts: usize) -> Result<(), Invalid> {
        check_count(self.entries.len(), max_rollouts).map_err(|invalid| invalid.below("/rollouts"))
    }
}

impl From<ScoreRequest> for IncomingRequest {
    fn from(mut request: ScoreRequest) -> Self {
        let rollouts = std::mem::take(&mut request.rollouts);
        let mut entries: Vec<_> = rollouts.into_iter().map(RolloutEntry::from).collect();
        refuse_shared_ids(&mut entries);
        Self { entries, settings: request }
    }
}

/// Refuses a body that is a list, which serde would take for the fields of the request.
fn refuse_list(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        return Ok(());
    }
    parse_borrowed::<IgnoredAny>(bytes)?;
    let detail = "the body is a list, and a request is an object";
    Err(Invalid::new(ProblemCode::InvalidRequest, "", detail)
        .hint("wrap the list: {\"rollouts\": [...]}"))
}

/// Checks a number of rollouts in a request, or of other items that become rollouts. The error has
/// an empty pointer.
///
/// # Errors
/// `too_large` for more than `max_rollouts`.
pub fn check_count(count: usize, max_rollouts: usize) -> Result<(), Invalid> {
    if count <= max_rollouts {
        return Ok(());
    }
    let detail = format!("{count} rollouts exceed this server's limit of {max_rollouts}");
    Err(Invalid::new(ProblemCode::TooLarge, "", detail).hint(
        "send fewer rollouts per request (guerdon-client splits batches), or raise `limits.max_rollouts`",
    ))
}

/// The fields of [`ScoreRequest`], with `rollouts` as unparsed JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScoreRequest<'a> {
    #[serde(borrow)]
    rollouts: &'a RawValue,
    #[serde(default)]
    sources: Option<Vec<SourceId>>,
    #[serde(default)]
    profile: Option<ProfileName>,
    #[serde(default, deserialize_with = "optional_object")]
    fusion: Option<FusionPatch>,
    #[serde(default, deserialize_with = "optional_object")]
    advantages: Option<AdvantagesRequest>,
    #[serde(default)]
    deadline_ms: Option<u64>,
    #[serde(default, deserialize_with = "optional_object")]
    expect: Option<Expectation>,
    #[serde(default)]
    extra_fields: Option<ExtraFields>,
    #[serde(default)]
    run: Option<String>,
    #[serde(default)]
    step: Option<u64>,
    #[serde(default)]
    split: Option<String>,
}

/// Reads the JSON texts of the first `max` rollouts, and counts all of them. The limit bounds
/// memory: without it, a body of many tiny rollouts would become a list many times its size.
struct EntryTexts {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for EntryTexts {
    type Value = (Vec<&'de RawValue>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntryTexts {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rollouts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < self.max {
            match seq.next_element()? {
                Some(text) => texts.push(text),
                None => break,
            }
        }
        let mut count = texts.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((texts, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"messages": [{"role": "assistant", "content": "a"}]}"#;

    fn parse(json: &str) -> Result<IncomingRequest, Invalid> {
        IncomingRequest::parse(json.as_bytes(), 10)
    }

    #[test]
    fn each_broken_rollout_has_an_error_of_its_own() {
        let shared = r#"{"id": "r", "messages": [{"role": "assistant", "content": "a"}]}"#;
        let message = |message: &str| format!(r#"{{"messages": [{message}]}}"#);
        for (broken, code, pointer) in [
            (message(r#"{"role": "user", "content": "a"}"#), "no_assistant_turn", "/messages"),
            (
                message(r#"{"role": "robot", "content": "a"}"#),
                "invalid_request",
                "/messages/0/role",
            ),
            (
                message(r#"{"role": "assistant", "content": 1}"#),
                "invalid_request",
                "/messages/0/content",
            ),
            (
                message(r#"{"role": "assistant", "content": "\ud83d"}"#),
                "malformed_json",
                "/messages/0/content",
            ),
            (
                r#"{"messages": [{"role": "assistant", "content": "a"}], "score": [7]}"#.into(),
                "no_assistant_turn",
                "/score/0",
            ),
            (r#"{"mesages": []}"#.into(), "invalid_request", ""),
            (
                r#"{"messages": [], "context": {"price": 1e999}}"#.into(),
                "malformed_json",
                "/context",
            ),
            ("[]".into(), "invalid_request", ""),
            ("17".into(), "invalid_request", ""),
        ] {
            let request = parse(&format!(r#"{{"rollouts": [{GOOD}, {broken}, {GOOD}]}}"#)).unwrap();
            assert!(request.entries[0].rollout.is_ok() && request.entries[2].rollout.is_ok());
            let refusal = request.entries[1].refusal(1).expect(&broken);
            assert_eq!(refusal.id.as_str(), "1");
            let problem = refusal.error.unwrap();
            assert_eq!(problem.code.as_str(), code, "{broken}: {problem:?}");
            let at = problem.pointer.unwrap();
            assert!(at.starts_with(&format!("/rollouts/1{pointer}")), "{broken}: {at}");
            assert!(!problem.detail.contains(" column "), "{}", problem.detail);
        }
        let request = parse(&format!(r#"{{"rollouts": [{shared}, {GOOD}, {shared}]}}"#)).unwrap();
        for (index, other) in [(0, 2), (2, 0)] {
            let refusal = request.entries[index].refusal(index).unwrap();
            assert_eq!(refusal.id.as_str(), "r");
            let problem = refusal.error.unwrap();
            assert_eq!(problem.pointer.unwrap(), format!("/rollouts/{index}/id"));
            assert!(problem.detail.ends_with(&format!("rollout {other}")), "{}", problem.detail);
        }
    }

    #[test]
    fn a_body_that_is_not_a_request_is_refused_whole() {
        for (body, code, pointer) in [
            ("{".to_owned(), "malformed_json", ""),
            ("[]".to_owned(), "invalid_request", ""),
            (format!("[{GOOD}]"), "invalid_request", ""),
            ("{}".to_owned(), "invalid_request", ""),
            (r#"{"rollouts": {}}"#.to_owned(), "invalid_request", "/rollouts"),
            (r#"{"rollouts": [], "rolouts": []}"#.to_owned(), "invalid_request", "/rolouts"),
            (
                r#"{"rollouts": [], "fusion": {"bond": 1}}"#.to_owned(),
                "invalid_request",
                "/fusion/bond",
            ),
            (
                format!(r#"{{"rollouts": [{GOOD}, {{"context": {{"price": NaN}}}}]}}"#),
                "malformed_json",
                "/rollouts/1/context/price",
            ),
            (format!(r#"{{"rollouts": [{GOOD}]}} x"#), "malformed_json", ""),
            (format!(r#"{{"rollouts": [{}]}}"#, ["0"; 11].join(",")), "too_large", "/rollouts"),
        ] {
            let invalid = parse(&body).unwrap_err();
            assert_eq!(invalid.code.as_str(), code, "{body}: {invalid}");
            assert_eq!(invalid.pointer, pointer, "{body}: {invalid}");
        }
        let many = parse(&format!(r#"{{"rollouts": [{}]}}"#, ["0"; 11].join(","))).unwrap_err();
        assert!(many.detail.starts_with("11 rollouts"), "{}", many.detail);
        let list = parse(&format!("[{GOOD}]")).unwrap_err();
        assert_eq!(list.hint.as_deref(), Some("wrap the list: {\"rollouts\": [...]}"));
        let misspelt = parse(r#"{"rollouts": [], "advantage": null}"#).unwrap_err();
        assert_eq!(misspelt.hint.as_deref(), Some("did you mean `advantages`?"));
    }

    #[test]
    fn settings_are_read_as_by_the_typed_request() {
        let json = r#"{"rollouts": [], "sources": ["rm"], "profile": "p", "fusion": {"bound": 3.0},
                       "advantages": {"estimator": "grpo"}, "deadline_ms": 7,
                       "expect": {"digest": "@"}, "extra_fields": "context",
                       "run": "exp", "step": 140, "split": "train"}"#;
        let json = json.replace('@', ConfigDigest::of("a").as_str());
        let typed: ScoreRequest = serde_json::from_str(&json).unwrap();
        assert_eq!(parse(&json).unwrap(), IncomingRequest::from(typed));
    }

    #[test]
    fn list_is_no_object_of_settings() {
        for (setting, list) in
            [("fusion", "[]"), ("fusion", r#"["repo"]"#), ("advantages", r#"["grpo"]"#)]
        {
            let invalid =
                parse(&format!(r#"{{"rollouts": [], "{setting}": {list}}}"#)).unwrap_err();
            assert_eq!(invalid.pointer, format!("/{setting}"), "{invalid}");
            assert!(invalid.detail.contains("expected an object"), "{invalid}");
            let null = parse(&format!(r#"{{"rollouts": [], "{setting}": null}}"#));
            assert_eq!(null.unwrap(), IncomingRequest::default());
        }
    }

    #[test]
    fn invalid_expectation_is_refused_with_its_pointer() {
        for (expect, pointer) in [
            ("{}", "/expect"),
            (r#""sha256:00""#, "/expect"),
            (r#"{"digest": "sha256:00"}"#, "/expect/digest"),
            (r#"{"digest": 7}"#, "/expect/digest"),
            (r#"{"digest": null}"#, "/expect/digest"),
            (r#"{"digets": "sha256:00"}"#, "/expect/digets"),
            (r#"["sha256:00"]"#, "/expect"),
            ("[]", "/expect"),
        ] {
            let invalid = parse(&format!(r#"{{"rollouts": [], "expect": {expect}}}"#)).unwrap_err();
            assert_eq!(invalid.code, ProblemCode::InvalidRequest, "{expect}");
            assert_eq!(invalid.pointer, pointer, "{expect}: {invalid}");
        }
        assert_eq!(parse(r#"{"rollouts": [], "expect": null}"#).unwrap().settings.expect, None);
    }

    #[test]
    fn long_label_is_refused_with_its_pointer() {
        let long = Some("x".repeat(MAX_LABEL_BYTES + 1));
        for (request, pointer) in [
            (ScoreRequest { run: long.clone(), ..ScoreRequest::default() }, "/run"),
            (ScoreRequest { split: long, ..ScoreRequest::default() }, "/split"),
        ] {
            assert_eq!(request.check().unwrap_err().pointer, pointer);
        }
        for (field, pointer) in [("\"run\": 3", "/run"), ("\"step\": -1", "/step")] {
            let invalid = parse(&format!("{{\"rollouts\": [], {field}}}")).unwrap_err();
            assert_eq!(invalid.pointer, pointer, "{invalid}");
        }
    }

    #[test]
    fn an_empty_batch_is_a_request() {
        assert_eq!(parse(r#"{"rollouts": []}"#).unwrap(), IncomingRequest::default());
        assert!(ScoreRequest::default().check().is_ok());
    }

    #[test]
    fn unset_fields_are_not_written() {
        assert_eq!(serde_json::to_string(&ScoreRequest::default()).unwrap(), r#"{"rollouts":[]}"#);
    }
}
