//! The scale of a source: `calibration` of the profile, which is a shorthand for the base, or
//! `normalise` of the source.

use guerdon_types::{Calibration, Finite, Normaliser, NormaliserConfig, SourceId};

use super::named_paths::NamedPaths;
use crate::config::CalibrationConfig;
use crate::error::LoadError;

/// The scale of one source as it is configured.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceScale<'a> {
    pub(super) id: &'a SourceId,
    /// That of the profile for its base, and `raw` for other sources.
    pub(super) calibration: CalibrationConfig,
    pub(super) normalise: Option<&'a NormaliserConfig>,
}

impl SourceScale<'_> {
    /// Checks that only one of both is set.
    pub(super) fn check(&self, named: &NamedPaths<'_>) -> Result<(), LoadError> {
        if self.normalise.is_some() && self.calibration != CalibrationConfig::default() {
            return Err(named.invalid(format!(
                "both `calibration` and `normalise` of the base source `{}` are set; remove \
                 `calibration`, which is a shorthand for the other",
                self.id
            )));
        }
        Ok(())
    }

    /// Checks that a source with a calibration of its own has no other scale.
    pub(super) fn check_own(
        &self,
        named: &NamedPaths<'_>,
        own: Calibration,
    ) -> Result<(), LoadError> {
        let has_other =
            self.normalise.is_some() || self.calibration != CalibrationConfig::default();
        if own != Calibration::Raw && has_other {
            return Err(named.invalid(format!(
                "source `{}` has a `calibration`, and there is another one; keep only `normalise` \
                 of the source",
                self.id
            )));
        }
        Ok(())
    }

    /// The calibration inside a reward model, and the normaliser of its score, if it is more than a
    /// calibration. `measured` is the manifest's `(mean, std)`.
    pub(super) fn of_model(
        &self,
        named: &NamedPaths<'_>,
        measured: Option<(Finite, Finite)>,
    ) -> Result<(Calibration, Option<Normaliser>), LoadError> {
        if self.normalise.is_some() {
            return Ok(match self.normaliser(named, measured)? {
                None => (Calibration::Raw, None),
                Some(Normaliser::Centred { mean }) => (Calibration::Centred { mean }, None),
                Some(Normaliser::Standardised { mean, std }) => {
                    (Calibration::Standardised { mean, std }, None)
                }
                other => (Calibration::Raw, other),
            });
        }
        let calibration = self.calibration.resolve(measured).map_err(|key| {
            named.invalid(format!(
                "`{key}` is set neither here nor in the model's manifest; set it, or set \
                 calibration = {{ kind = \"raw\" }}"
            ))
        })?;
        calibration.check().map_err(|error| named.invalid(error.to_string()))?;
        Ok((calibration, None))
    }

    /// The normaliser; `None` if the source's number is used as it is.
    pub(super) fn normaliser(
        &self,
        named: &NamedPaths<'_>,
        measured: Option<(Finite, Finite)>,
    ) -> Result<Option<Normaliser>, LoadError> {
        let invalid = |error: String| named.invalid(format!("source `{}`: {error}", self.id));
        let normaliser = match self.normalise {
            Some(normalise) => {
                normalise.resolve(measured).map_err(|error| invalid(error.to_string()))?
            }
            None => {
                let calibration = self.calibration.resolve(measured);
                let calibration = calibration.map_err(|key| {
                    invalid(format!("`{key}` is not set, and this source has no manifest"))
                })?;
                calibration.check().map_err(|error| invalid(error.to_string()))?;
                Normaliser::from(calibration)
            }
        };
        Ok(Some(normaliser).filter(|normaliser| *normaliser != Normaliser::Raw))
    }
}
