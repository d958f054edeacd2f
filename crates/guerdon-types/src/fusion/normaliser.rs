//! The normalisation of a source's value, before its weight and the fusion.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Calibration, InvalidFusion};
use crate::Finite;

/// The most knots of a quantile curve.
const MAX_KNOTS: usize = 4_096;

/// The function from a source's value to the number that enters the fusion. guerdon-fusion has the
/// equations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Normaliser {
    /// The value itself.
    #[default]
    Raw,
    /// `value - mean`.
    Centred {
        /// The mean value of a reference set.
        mean: Finite,
    },
    /// `(value - mean) / std`.
    Standardised {
        /// The mean value of a reference set.
        mean: Finite,
        /// Its standard deviation; positive.
        std: Finite,
    },
    /// As `standardised`, with the moments of all values that were observed.
    Running {
        /// The number of values that were observed.
        #[serde(default)]
        count: u64,
        /// Their mean.
        #[serde(default)]
        mean: Finite,
        /// The sum of their squared deviations from the mean; 0 or more.
        #[serde(default)]
        m2: Finite,
        /// Set to go on observing. Otherwise the moments are frozen.
        #[serde(default)]
        online: bool,
    },
    /// `2 F(value) - 1` in `[-1, 1]`, with `F` the share of a reference set that is lower.
    Quantile {
        /// Quantiles of a reference set at equal steps of probability, from the lowest to the
        /// highest value: 2 to 4,096 numbers, ascending.
        knots: Vec<Finite>,
    },
    /// Preference as reward: `sigmoid(value - reference)`, the probability that the reward model
    /// prefers the reply to a reference reply.
    Par {
        /// The value of the reference reply.
        reference: Finite,
        /// Set to subtract 1/2, so that the result is in `(-1/2, 1/2)` and 0 at the reference, as
        /// the method `repo` needs it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        centred: bool,
    },
    /// `value - slope (length - mean_length)`.
    LengthDebias {
        /// The slope of the value on the length of the reply, per Unicode scalar value.
        slope: Finite,
        /// The mean length of the replies of a reference set, in Unicode scalar values.
        mean_length: Finite,
    },
}

/// The moments of the values that were observed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningState {
    /// The number of values.
    pub count: u64,
    /// Their mean; 0 if there are none.
    pub mean: Finite,
    /// The sum of their squared deviations from the mean.
    pub m2: Finite,
}

/// A normaliser as it is written in a configuration: a table with all numbers, or one word for a
/// normaliser that takes them from the model's manifest.
///
/// ```
/// use guerdon_types::{Finite, ManifestNormaliser, Normaliser, NormaliserConfig};
///
/// let word: NormaliserConfig = serde_json::from_str(r#""centred""#)?;
/// assert_eq!(word, NormaliserConfig::Manifest(ManifestNormaliser::Centred));
/// let table: NormaliserConfig = serde_json::from_str(r#"{"kind": "centred", "mean": 2}"#)?;
/// let mean = Finite::from(2);
/// assert_eq!(table, NormaliserConfig::Table(Normaliser::Centred { mean }));
/// assert_eq!(word.resolve(Some((mean, Finite::ONE))), table.resolve(None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum NormaliserConfig {
    /// A word. The numbers are the manifest's.
    Manifest(ManifestNormaliser),
    /// A table with all numbers.
    Table(Normaliser),
}

/// A normaliser whose numbers a model's manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestNormaliser {
    /// The value itself; needs no number.
    Raw,
    /// `value - mean`.
    Centred,
    /// `(value - mean) / std`.
    Standardised,
}

impl Normaliser {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        match self {
            Self::Standardised { std, .. } if std.get() <= 0.0 => {
                let detail = format!("is {std}; it must be positive");
                Err(InvalidFusion::new("normalise.std", detail))
            }
            Self::Running { count, mean, m2, .. } => {
                RunningState { count: *count, mean: *mean, m2: *m2 }.check()
            }
            Self::Quantile { knots } => check_knots(knots),
            _ => Ok(()),
        }
    }

    /// The moments of `running`.
    #[must_use]
    pub const fn running_state(&self) -> Option<RunningState> {
        match self {
            Self::Running { count, mean, m2, .. } => {
                Some(RunningState { count: *count, mean: *mean, m2: *m2 })
            }
            _ => None,
        }
    }

    /// The same normaliser with other moments, if it is `running`.
    #[must_use]
    pub fn with_state(self, state: RunningState) -> Self {
        match self {
            Self::Running { online, .. } => {
                let RunningState { count, mean, m2 } = state;
                Self::Running { count, mean, m2, online }
            }
            other => other,
        }
    }

    /// The kind as it is written in JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Centred { .. } => "centred",
            Self::Standardised { .. } => "standardised",
            Self::Running { .. } => "running",
            Self::Quantile { .. } => "quantile",
            Self::Par { .. } => "par",
            Self::LengthDebias { .. } => "length_debias",
        }
    }
}

fn check_knots(knots: &[Finite]) -> Result<(), InvalidFusion> {
    let key = "normalise.knots";
    if !(2..=MAX_KNOTS).contains(&knots.len()) {
        let detail = format!("has {} numbers; it needs 2 to {MAX_KNOTS}", knots.len());
        return Err(InvalidFusion::new(key, detail));
    }
    if let Some([low, high]) = knots.windows(2).find(|pair| pair[0] > pair[1]) {
        let detail = format!("has {high} after {low}; the numbers must ascend");
        return Err(InvalidFusion::new(key, detail));
    }
    if knots.first() == knots.last() {
        let detail = "has equal numbers only; the reference values must differ".to_owned();
        return Err(InvalidFusion::new(key, detail));
    }
    Ok(())
}

impl RunningState {
    /// Checks that the moments can belong to values.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        let Self { count, mean, m2 } = *self;
        if m2.get() < 0.0 {
            let detail = format!("is {m2}; a sum of squares is 0 or more");
            return Err(InvalidFusion::new("normalise.m2", detail));
        }
        if count == 0 && mean != Finite::ZERO {
            let detail = format!("is {mean}, and no value was observed (`count` is 0)");
            return Err(InvalidFusion::new("normalise.mean", detail));
        }
        if count < 2 && m2 != Finite::ZERO {
            let detail =
                format!("is {m2}, and `count` is {count}; fewer than 2 values do not deviate");
            return Err(InvalidFusion::new("normalise.m2", detail));
        }
        Ok(())
    }
}

impl NormaliserConfig {
    /// The normaliser, with `measured`, the manifest's `(mean, std)`, where a word needs it.
    ///
    /// # Errors
    /// [`InvalidFusion`] for a number out of range, or a word whose numbers no manifest has.
    pub fn resolve(&self, measured: Option<(Finite, Finite)>) -> Result<Normaliser, InvalidFusion> {
        let moments = || {
            measured.ok_or_else(|| {
                let detail = "takes its numbers from a model's manifest, and this source has none; \
                              write a table, such as { kind = \"standardised\", mean = 0.3, std = 1.2 } \
                              from `guerdon fit standardised`";
                InvalidFusion::new("normalise", detail.to_owned())
            })
        };
        let normaliser = match self {
            Self::Manifest(ManifestNormaliser::Raw) => Normaliser::Raw,
            Self::Manifest(ManifestNormaliser::Centred) => {
                Normaliser::Centred { mean: moments()?.0 }
            }
            Self::Manifest(ManifestNormaliser::Standardised) => {
                let (mean, std) = moments()?;
                Normaliser::Standardised { mean, std }
            }
            Self::Table(normaliser) => normaliser.clone(),
        };
        normaliser.check()?;
        Ok(normaliser)
    }
}

impl Default for NormaliserConfig {
    fn default() -> Self {
        Self::Manifest(ManifestNormaliser::Raw)
    }
}

impl From<Calibration> for Normaliser {
    fn from(calibration: Calibration) -> Self {
        match calibration {
            Calibration::Raw => Self::Raw,
            Calibration::Centred { mean } => Self::Centred { mean },
            Calibration::Standardised { mean, std } => Self::Standardised { mean, std },
        }
    }
}

impl Serialize for NormaliserConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Manifest(word) => word.serialize(serializer),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for NormaliserConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = NormaliserConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"raw\", \"centred\", \"standardised\", or a table such as { kind = \"par\", reference = 1.5 }",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<NormaliserConfig, E> {
                match word {
                    "raw" => Ok(NormaliserConfig::Manifest(ManifestNormaliser::Raw)),
                    "centred" => Ok(NormaliserConfig::Manifest(ManifestNormaliser::Centred)),
                    "standardised" => {
                        Ok(NormaliserConfig::Manifest(ManifestNormaliser::Standardised))
                    }
                    "running" | "quantile" | "par" | "length_debias" => Err(E::custom(format!(
                        "`{word}` needs numbers: write the table that `guerdon fit {word}` prints"
                    ))),
                    other => Err(E::unknown_variant(other, &WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NormaliserConfig, A::Error> {
                use de::Error as _;
                let table = de::value::MapAccessDeserializer::new(map);
                let table = serde_json::Map::deserialize(table)?;
                // serde ignores the other keys of a variant that has none.
                let other = table.keys().find(|key| *key != "kind");
                if let (Some("raw"), Some(other)) =
                    (table.get("kind").and_then(serde_json::Value::as_str), other)
                {
                    return Err(A::Error::custom(format!("`raw` has no key `{other}`")));
                }
                let table = Normaliser::deserialize(serde_json::Value::Object(table));
                table.map(NormaliserConfig::Table).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(WordOrTable)
    }
}

/// The words of [`NormaliserConfig`].
const WORDS: [&str; 3] = ["raw", "centred", "standardised"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<NormaliserConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn resolved(json: &str) -> Result<Normaliser, &'static str> {
        read(json).unwrap().resolve(None).map_err(|invalid| invalid.key)
    }

    #[test]
    fn every_table_is_written_as_it_is_read() {
        for json in [
            r#"{"kind":"raw"}"#,
            r#"{"kind":"centred","mean":0.5}"#,
            r#"{"kind":"standardised","mean":0.5,"std":2.0}"#,
            r#"{"kind":"running","count":3,"mean":0.5,"m2":2.0,"online":true}"#,
            r#"{"kind":"quantile","knots":[-1.0,0.0,2.0]}"#,
            r#"{"kind":"par","reference":1.5,"centred":true}"#,
            r#"{"kind":"length_debias","slope":0.01,"mean_length":120.5}"#,
        ] {
            let table = read(json).unwrap();
            assert_eq!(serde_json::to_string(&table).unwrap(), json);
            let NormaliserConfig::Table(normaliser) = &table else { panic!("{json}") };
            assert!(json.contains(&format!("\"{}\"", normaliser.kind())));
            assert_eq!(table.resolve(None).as_ref(), Ok(normaliser));
        }
        for word in WORDS {
            let json = format!("\"{word}\"");
            assert_eq!(serde_json::to_string(&read(&json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn unknown_keys_words_and_numbers_out_of_range_are_refused() {
        for bad in [
            r#"{"kind": "centred", "mean": 1, "std": 2}"#,
            r#"{"kind": "raw", "mean": 1}"#,
            r#"{"kind": "par"}"#,
            r#"{"kind": "softmax"}"#,
            r#""quantiles""#,
            "7",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(r#""par""#).unwrap_err().contains("guerdon fit par"));
        assert_eq!(resolved(r#""standardised""#), Err("normalise"));
        assert_eq!(
            resolved(r#"{"kind": "standardised", "mean": 0, "std": 0}"#),
            Err("normalise.std")
        );
        assert_eq!(resolved(r#"{"kind": "running", "count": 2, "m2": -1}"#), Err("normalise.m2"));
        assert_eq!(resolved(r#"{"kind": "running", "count": 1, "m2": 1}"#), Err("normalise.m2"));
        assert_eq!(resolved(r#"{"kind": "running", "mean": 1}"#), Err("normalise.mean"));
        for knots in ["[1]", "[2, 1]", "[1, 1]"] {
            let json = format!(r#"{{"kind": "quantile", "knots": {knots}}}"#);
            assert_eq!(resolved(&json), Err("normalise.knots"), "{json}");
        }
    }

    #[test]
    fn calibration_is_the_normaliser_of_the_same_name() {
        let mean = Finite::from(3);
        for calibration in [
            Calibration::Raw,
            Calibration::Centred { mean },
            Calibration::Standardised { mean, std: Finite::ONE },
        ] {
            let json = serde_json::to_value(calibration).unwrap();
            assert_eq!(serde_json::to_value(Normaliser::from(calibration)).unwrap(), json);
        }
    }
}
