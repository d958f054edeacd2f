//! Abstentions by cause, and what they do to a reward.
//!
//! An abstention has one of two causes. *Infrastructure* failed: the judge was unreachable,
//! overloaded or out of money. Or the *content* could not be judged: a policy can bring that about,
//! by a reply that makes the judge refuse, contradict itself or run out of tokens.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Vocabulary;

/// The cause of an abstention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AbstainCause {
    /// The source could not work, whatever it was asked about.
    Infrastructure,
    /// The turn could not be scored. A policy can bring this about.
    Content,
}

/// Details of an abstention beyond its [`why`](crate::Abstention::why).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AbstainReason {
    /// The source can never read this dialogue, for example because the model's chat template
    /// refuses its roles. Sending it again does not help.
    Unreadable,
    /// The budget is used up.
    Budget,
    /// The endpoint refused this question.
    BadRequest,
    /// The endpoint refused the account, the model or the path.
    Denied,
    /// The account has no money or quota left.
    QuotaGone,
    /// The endpoint failed.
    EndpointFailed,
    /// The endpoint's host is not known.
    UnknownHost,
    /// The endpoint refused the connection.
    ConnectionRefused,
    /// Connecting to the endpoint took too long.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The endpoint did not answer in time.
    TimedOut,
    /// The connection broke off.
    BrokeOff,
    /// The samples of the group are not all there, or are not samples of one prompt, so that they
    /// cannot be judged together. All of them abstain.
    GroupIncomplete,
}

impl AbstainReason {
    /// The reason as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Budget => "budget",
            Self::BadRequest => "bad_request",
            Self::Denied => "denied",
            Self::QuotaGone => "quota_gone",
            Self::EndpointFailed => "endpoint_failed",
            Self::UnknownHost => "unknown_host",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::TimedOut => "timed_out",
            Self::BrokeOff => "broke_off",
            Self::GroupIncomplete => "group_incomplete",
        }
    }
}

impl Vocabulary for AbstainReason {
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// The effect of an abstention on the reward, where it is more than that a number is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AbstainEffect {
    /// The rubric was dropped for the whole group.
    Dropped,
    /// The worst verdict of the rubric was counted.
    Worst,
    /// None: the source is an audit or a member of an ensemble, which are not fused themselves.
    Audit,
}

impl Vocabulary for AbstainEffect {
    fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Worst => "worst",
            Self::Audit => "audit",
        }
    }
}

/// The effect of a missing judge or rule signal on the turn's reward. The reply lists the
/// abstention in every case. In JSON and in a configuration it is a word, or a table with an action
/// for each [cause](AbstainCause).
///
/// ```
/// use guerdon_types::{AbstainPolicy, ContentAction, InfrastructureAction, OnAbstain};
///
/// assert_eq!(serde_json::from_str::<OnAbstain>(r#""skip""#)?, OnAbstain::Skip);
/// let table: OnAbstain = serde_json::from_str(r#"{"content": "worst"}"#)?;
/// let (infrastructure, content) = (InfrastructureAction::Group, ContentAction::Worst);
/// assert_eq!(table, OnAbstain::ByCause(AbstainPolicy { infrastructure, content }));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAbstain {
    /// Fuses the signals that are present.
    Skip,
    /// Gives the turn no reward (`null`), so that a trainer can mask it.
    Null,
    /// Depends on the cause.
    ByCause(AbstainPolicy),
}

/// An action for each cause of an abstention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AbstainPolicy {
    /// The source could not work: unreachable, rate limited, overloaded, late, or out of budget. A
    /// deadline or a limit that strikes one rollout of a group while others were answered counts as
    /// `content`, too.
    pub infrastructure: InfrastructureAction,
    /// The turn could not be scored: the answer was ambiguous, malformed, refused, filtered or cut
    /// off, or the turn is too long. A policy can bring this about.
    pub content: ContentAction,
}

/// The action for abstentions whose cause is infrastructure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum InfrastructureAction {
    /// Fuses the signals that are present.
    Skip,
    /// The default. Asks once more about the rollouts of the group that lack a rubric, then drops
    /// the rubric for the whole group. A rollout without a group is a group of its own.
    #[default]
    Group,
    /// Gives the turn no reward.
    Null,
}

/// The action for abstentions whose cause is the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ContentAction {
    /// The default. Gives the turn no reward: a masked sample teaches nothing.
    #[default]
    Null,
    /// Asks once more, then drops the rubric for the whole group. One unjudgeable reply then takes
    /// the rubric from its siblings.
    Group,
    /// Counts the worst verdict of the rubric. A source without a known worst verdict gives the turn
    /// no reward.
    Worst,
    /// Fuses the signals that are present. An unjudgeable reply then avoids its deductions.
    Skip,
}

/// An action on an abstention, from the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbstainAction {
    /// Fuses the signals that are present.
    Skip,
    /// Drops the rubric for the whole group.
    Group,
    /// Counts the worst verdict.
    Worst,
    /// Gives the turn no reward.
    Null,
}

impl AbstainPolicy {
    /// The action for `cause`.
    #[must_use]
    pub const fn action(self, cause: AbstainCause) -> AbstainAction {
        match cause {
            AbstainCause::Infrastructure => match self.infrastructure {
                InfrastructureAction::Skip => AbstainAction::Skip,
                InfrastructureAction::Group => AbstainAction::Group,
                InfrastructureAction::Null => AbstainAction::Null,
            },
            AbstainCause::Content => match self.content {
                ContentAction::Null => AbstainAction::Null,
                ContentAction::Group => AbstainAction::Group,
                ContentAction::Worst => AbstainAction::Worst,
                ContentAction::Skip => AbstainAction::Skip,
            },
        }
    }
}

impl Vocabulary for InfrastructureAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Group => "group",
            Self::Null => "null",
        }
    }
}

impl Vocabulary for ContentAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Group => "group",
            Self::Worst => "worst",
            Self::Skip => "skip",
        }
    }
}

/// The words of [`OnAbstain`].
const WORDS: [&str; 2] = ["skip", "null"];

impl Serialize for OnAbstain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Skip => serializer.serialize_str("skip"),
            Self::Null => serializer.serialize_str("null"),
            Self::ByCause(policy) => policy.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OnAbstain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = OnAbstain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"skip\", \"null\", or a table such as { infrastructure = \"group\", content = \"null\" }",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<OnAbstain, E> {
                match word {
                    "skip" => Ok(OnAbstain::Skip),
                    "null" => Ok(OnAbstain::Null),
                    other => Err(E::unknown_variant(other, &WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OnAbstain, A::Error> {
                let table = de::value::MapAccessDeserializer::new(map);
                AbstainPolicy::deserialize(table).map(OnAbstain::ByCause)
            }
        }

        deserializer.deserialize_any(WordOrTable)
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
    use utoipa::openapi::{Ref, RefOr};
    use utoipa::{PartialSchema, ToSchema};

    use super::{AbstainPolicy, OnAbstain};

    impl PartialSchema for OnAbstain {
        fn schema() -> RefOr<Schema> {
            let words = ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .enum_values(Some(["skip", "null", "by_cause"]))
                .description(Some(
                    "`skip` fuses the signals that are present, `null` gives the turn no reward. \
                     `by_cause` occurs only in replies, which then have the table as \
                     `abstain_causes`.",
                ));
            OneOfBuilder::new()
                .item(words)
                .item(Ref::from_schema_name("AbstainPolicy"))
                .description(Some(
                    "The effect of a missing judge or rule signal on the turn's reward: a word, or \
                     an action for each cause. The reply lists the abstention in every case.",
                ))
                .into()
        }
    }

    impl ToSchema for OnAbstain {
        fn name() -> std::borrow::Cow<'static, str> {
            "OnAbstain".into()
        }

        fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            schemas.push(("AbstainPolicy".to_owned(), AbstainPolicy::schema()));
            AbstainPolicy::schemas(schemas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_meaning_and_a_table_has_defaults() {
        let read = |json: &str| serde_json::from_str::<OnAbstain>(json);
        assert_eq!(read(r#""skip""#).unwrap(), OnAbstain::Skip);
        assert_eq!(read(r#""null""#).unwrap(), OnAbstain::Null);
        let defaults = AbstainPolicy::default();
        assert_eq!(defaults.infrastructure, InfrastructureAction::Group);
        assert_eq!(defaults.content, ContentAction::Null);
        assert_eq!(read("{}").unwrap(), OnAbstain::ByCause(defaults));
        for bad in [
            r#""group""#,
            r#""by_cause""#,
            "null",
            "7",
            r#"{"infrastructure": "worst"}"#,
            r#"{"content": "drop"}"#,
            r#"{"contents": "null"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_pair_of_actions_is_written_as_it_is_read() {
        for infrastructure in ["skip", "group", "null"] {
            for content in ["null", "group", "worst", "skip"] {
                let json =
                    serde_json::json!({"infrastructure": infrastructure, "content": content});
                let read: OnAbstain = serde_json::from_value(json.clone()).unwrap();
                assert_eq!(serde_json::to_value(read).unwrap(), json);
                let OnAbstain::ByCause(policy) = read else { panic!("{json}") };
                assert_eq!(policy.infrastructure.as_str(), infrastructure);
                assert_eq!(policy.content.as_str(), content);
            }
        }
    }
}
