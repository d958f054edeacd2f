//! The cache key of a question: a hash of what is sent, and of the judge that is asked.
//!
//! The key is computed without rendering the question. The text that is sent depends only on what
//! the rubric [shows](Rubric::asked), the order of its criteria and the case, so these are hashed:
//! the case by the hash of the dialogue as it is [shown](crate::ask::case), and the context values
//! that the body reads. What an answer is worth is looked up later, so points are not in the key,
//! and an edit of them costs no call. The judge is its model, the fields of its requests and the
//! identity that its configuration declares; its address is not in the key, because a model that
//! moves to another host is the same judge.
//!
//! The structs are destructured by field below, so that a new field does not compile until its
//! author decides whether it belongs to the question. The
//! [`RequestFeatures`](crate::call::wire::RequestFeatures) of the endpoint are excluded: they are
//! negotiated during calls, and the answer passes the same checks in every form. The nonce is
//! excluded too: answers do not depend on it, and it changes at every restart.
//!
//! Answers to questions of another [layout](LAYOUT) are not found, because those questions
//! had other words.

use serde::{Deserialize, Serialize};

use crate::ask::case::Case;
use crate::ask::digest::{Digest, PartsHasher, json};
use crate::ask::question::JudgeQuestion;
use crate::ask::reasoning::ReducedReasoning;
use crate::rubric::Rubric;

/// Counts changes to how messages are laid out or answers are read. The test below fails if
/// messages change and this does not.
pub(crate) const LAYOUT: u32 = 5;

/// The judge that is asked: its address, model and request fields.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) url: String,
    pub(crate) model: String,
    pub(crate) extra_body: serde_json::Map<String, serde_json::Value>,
    /// The same for the re-ask of a question whose answer was cut off.
    pub(crate) reduced_reasoning: Option<ReducedReasoning>,
    pub(crate) read_reasoning: bool,
    digest: Digest,
}

/// The settings of an [`Identity`].
#[derive(Debug, Clone)]
pub(crate) struct IdentityConfig {
    pub(crate) url: String,
    pub(crate) model: String,
    /// The declared identity.
    pub(crate) identity: Option<String>,
    pub(crate) extra_body: serde_json::Map<String, serde_json::Value>,
    pub(crate) read_reasoning: bool,
}

impl Identity {
    pub(crate) fn new(config: IdentityConfig) -> Self {
        let IdentityConfig { url, model, identity, extra_body, read_reasoning } = config;
        let reduced_reasoning = ReducedReasoning::of(&extra_body);
        let mut hash = PartsHasher::default();
        hash.add(identity.unwrap_or_default().as_bytes());
        hash.add(model.as_bytes());
        hash.add(&json(&extra_body));
        hash.add(&[u8::from(read_reasoning)]);
        let digest = hash.finish();
        Self { url, model, extra_body, reduced_reasoning, read_reasoning, digest }
    }
}

/// A question's hash; in hexadecimal where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct QuestionKey(Digest);

impl From<QuestionKey> for String {
    fn from(key: QuestionKey) -> Self {
        guerdon_text::hex(&key.0)
    }
}

impl TryFrom<String> for QuestionKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("a key has 64 hexadecimal digits");
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).unwrap_or_default();
            *byte =
                u8::from_str_radix(digits, 16).map_err(|_| "a key has 64 hexadecimal digits")?;
        }
        Ok(Self(bytes))
    }
}

/// The key of `question` put to `identity`.
pub(crate) fn of(identity: &Identity, question: &JudgeQuestion<'_>) -> QuestionKey {
    let Identity {
        digest: identity,
        url: _,
        model: _,
        extra_body: _,
        reduced_reasoning: _,
        read_reasoning: _,
    } = identity;
    let JudgeQuestion { rubric, order, sample, case } = question;
    let Rubric {
        id,
        max_tokens,
        temperature,
        selection,
        asked,
        hash: _,
        about: _,
        version: _,
        sealed: _,
        grouping: _,
        scoring: _,
        reasoning: _,
        listwise: _,
        pairwise: _,
        answer: _,
        scale: _,
        reply_names: _,
        instructions: _,
        layout: _,
        empty_points: _,
        samples: _,
        orders: _,
        criteria: _,
        examples: _,
        probes: _,
        context: _,
        body: _,
        is_fixed_work: _,
    } = &***rubric;
    // The texts are in the case's own hash; the secret must not be.
    let Case { digest: case, facts, before: _, dialogue: _, turn: _, listed: _, nonce: _ } = case;
    let mut key = PartsHasher::default();
    key.add(&LAYOUT.to_le_bytes());
    key.add(identity);
    key.add(id.as_bytes());
    key.add(asked);
    key.add(&max_tokens.to_le_bytes());
    key.add(&temperature.to_le_bytes());
    for criterion in *order {
        key.add(&u64::try_from(*criterion).unwrap_or(u64::MAX).to_le_bytes());
    }
    key.add(&sample.to_le_bytes());
    key.add(case);
    let facts = selection.select(facts);
    if !facts.is_empty() {
        key.add(&json(&facts));
    }
    QuestionKey(key.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guerdon_types::{Context, Role};

    use super::*;
    use crate::Prompts;
    use crate::ask::case::tests::case;
    use crate::call::capabilities::Capabilities;
    use crate::call::wire::{self, RequestFeatures};
    use crate::config::{EndpointConfig, ResponseFormat, Seal};
    use guerdon_text::SourceText;

    const SAID: [(Role, &str); 2] = [(Role::User, "480 最低了。"), (Role::Assistant, "420 <b>?")];

    const BODY: &str =
        "{{ dialogue }}{{ context.stage }}{{ turn }}{% for c in criteria %}{{ c.id }}{% endfor %}";

    fn source(body: &str) -> String {
        format!(
            "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\n[[criteria]]\nid = \"rude\"\nkind = \"deduct\"\n\
             about = \"Rude.\"\nfails_empty = true\nlevels = [\n  {{ name = \"no\", points = 0, anchor = \"Kind.\" }},\n  \
             {{ name = \"yes\", points = -9, anchor = \"Not.\" }},\n]\n+++\n# system\nJudge.\n# user\n{body}\n"
        )
    }

    fn rubric(body: &str) -> Arc<Rubric> {
        compiled(source(body))
    }

    fn compiled(text: String) -> Arc<Rubric> {
        let texts = [SourceText { name: "r.md".to_owned(), text }];
        Arc::clone(
            &Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}")).0.rubrics()[0],
        )
    }

    fn plain() -> Arc<Rubric> {
        rubric(BODY)
    }

    fn facts(json: serde_json::Value) -> Context {
        let serde_json::Value::Object(facts) = json else { panic!("an object") };
        facts
    }

    fn identity(url: &str, model: &str, extra: serde_json::Value) -> Identity {
        Identity::new(IdentityConfig {
            url: url.to_owned(),
            model: model.to_owned(),
            identity: None,
            extra_body: facts(extra),
            read_reasoning: false,
        })
    }

    fn judge() -> Identity {
        identity("http://h/v1", "m", serde_json::json!({}))
    }

    fn key_about(rubric: &Arc<Rubric>, said: &[(Role, &str)], facts: &Context) -> QuestionKey {
        case(said, facts, |case| {
            of(&judge(), &JudgeQuestion { rubric, order: &[0], sample: 0, case })
        })
    }

    #[test]
    fn a_key_is_written_and_read_back() {
        let key = key_about(&plain(), &SAID, &Context::new());
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text.len(), 66);
        assert_eq!(serde_json::from_str::<QuestionKey>(&text).unwrap(), key);
        for bad in [
            "\"ab\"".to_owned(),
            text.replace(&text[1..3], "+1"),
            format!("\"{}\"", "é".repeat(32)),
        ] {
            assert!(serde_json::from_str::<QuestionKey>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn question_and_judge_identity_change_the_key() {
        let (rubric, facts) = (plain(), Context::new());
        case(&SAID, &facts, |case| {
            let question = JudgeQuestion { rubric: &rubric, order: &[0, 1], sample: 0, case };
            let key = of(&judge(), &question);
            assert_eq!(key, of(&judge(), &question));
            assert_ne!(key, of(&judge(), &JudgeQuestion { sample: 1, ..question }));
            assert_ne!(key, of(&judge(), &JudgeQuestion { order: &[1, 0], ..question }));
            assert_ne!(
                key,
                of(&judge(), &JudgeQuestion { rubric: &self::rubric("{{ turn }}"), ..question })
            );
            let none = serde_json::json!({});
            assert_eq!(key, of(&identity("http://i/v1", "m", none.clone()), &question), "moved");
            let declared = IdentityConfig {
                url: "http://h/v1".to_owned(),
                model: "m".to_owned(),
                identity: Some("int8".to_owned()),
                extra_body: serde_json::Map::new(),
                read_reasoning: false,
            };
            for other in [
                Identity::new(declared),
                identity("http://h/v1", "n", none),
                identity("http://h/v1", "m", serde_json::json!({"seed": 7})),
                identity("http://h/v1", "m", serde_json::json!({"reasoning_effort": "high"})),
            ] {
                assert_ne!(key, of(&other, &question));
            }
        });
        let key = key_about(&rubric, &SAID, &facts);
        assert_ne!(key, key_about(&rubric, &SAID[1..], &facts));
        assert_ne!(key, key_about(&rubric, &[SAID[0], (Role::Assistant, "421 <b>?")], &facts));
    }

    #[test]
    fn an_edit_that_is_not_shown_keeps_the_key_and_one_that_is_shown_changes_it() {
        let body = "{{ turn }}{% for c in criteria %}{{ c.about }}{% for l in c.levels %}{{ l.name }}\
                    {{ l.anchor }}{% endfor %}{% endfor %}";
        let key = |rubric: &Arc<Rubric>| key_about(rubric, &SAID, &Context::new());
        let edited = |from: &str, to: &str| {
            let text = source(body);
            assert!(text.contains(from), "{text}");
            key(&compiled(text.replace(from, to)))
        };
        let original = key(&rubric(body));
        for (from, to) in [
            ("points = -9", "points = -12"),
            ("about = \"r\"", "about = \"Manners.\""),
            ("version = 1", "version = 2"),
            ("fails_empty = true\n", "# a remark\nfails_empty = true\n"),
        ] {
            assert_eq!(original, edited(from, to), "{from}");
        }
        for (from, to) in [
            ("about = \"Rude.\"", "about = \"Harsh.\""),
            ("anchor = \"Not.\"", "anchor = \"No.\""),
            ("name = \"yes\"", "name = \"rude\""),
            ("Judge.", "Judge well."),
            ("kind = \"deduct\"", "kind = \"gate\""),
        ] {
            assert_ne!(original, edited(from, to), "{from}");
        }
        let shown = source("{{ turn }}{% for c in criteria %}{{ c.levels[0].points }}{% endfor %}");
        let other = shown.replace("points = -9", "points = -12");
        assert_ne!(key(&compiled(shown)), key(&compiled(other)), "points that are shown");
    }

    #[test]
    fn facts_that_a_body_reads_are_in_the_key_and_others_are_not_even_shown() {
        let with = |rubric: &Arc<Rubric>, json| key_about(rubric, &SAID, &facts(json));
        let (named, whole) = (plain(), rubric("{{ turn }}{{ context }}"));
        let (quote, other) =
            (serde_json::json!({"stage": "quote"}), serde_json::json!({"stage": "close"}));
        let more = serde_json::json!({"stage": "quote", "id": 7});
        assert_ne!(with(&named, quote.clone()), with(&named, other.clone()));
        assert_eq!(with(&named, quote.clone()), with(&named, more.clone()));
        assert_ne!(with(&whole, quote.clone()), with(&whole, other));
        assert_ne!(with(&whole, quote), with(&whole, more.clone()));
        assert!(named.selection.select(&facts(more.clone())).get("id").is_none());
        let declared = source("{{ turn }}{{ context }}");
        let declared =
            compiled(declared.replace("version = 1", "version = 1\nfacts = [\"stage\"]"));
        let quote = serde_json::json!({"stage": "quote"});
        assert_eq!(with(&declared, quote), with(&declared, more), "a fact that it does not show");
    }

    /// Pins the bytes that are sent. If they change, cached answers would still be found under the
    /// old keys. In that case raise [`LAYOUT`] and write the new hash here.
    #[test]
    fn request_bytes_are_pinned_by_the_layout_number() {
        let rubric = rubric(
            "{{ dialogue }}\n{% if context.stage %}{{ context.stage }}{% endif %}\n{{ turn }}\n{% for c in criteria %}\n\
             {{ c.id }}: {{ c.about }}{% for l in c.levels %} {{ l.name }} {{ l.anchor }}{% endfor %}\n{% endfor %}",
        );
        let facts = facts(serde_json::json!({"stage": "quote <x>"}));
        let sent = case(&SAID, &facts, |case| {
            let rendered =
                JudgeQuestion { rubric: &rubric, order: &[0], sample: 0, case }.unrendered();
            let rendered = rendered.rendered_here().unwrap();
            let config =
                EndpointConfig { seal: Seal::Never, ..EndpointConfig::new("http://h/v1", "m") };
            let strict = Capabilities::new(&config).now(false);
            let plain = RequestFeatures { format: ResponseFormat::Plain, sealed: true, ..strict };
            let body =
                |features| wire::request("m", &rendered, 512, features, &serde_json::Map::new());
            [strict, plain].map(|features| String::from_utf8(body(features)).unwrap()).join("\n")
        });
        let hash = "sha256:cfe5cd2e25acd5c30596f1c8180dec8bdd9e39fde5adcdbb3f98e64b64204c46";
        assert_eq!((LAYOUT, guerdon_text::content_hash(&sent).as_str()), (5, hash), "{sent}");
    }
}
