//! `guerdon fit`: fits a normaliser on a reference set, and prints it as a line of a configuration.
//!
//! | file | content |
//! |---|---|
//! | `rows.rs` | the lines of a reference set |
//! | `values.rs` | the values of one source with the lengths of the replies |
//! | `score.rs` | scores rollouts in this process |

mod rows;
mod score;
mod values;

use std::process::ExitCode;

use anyhow::Context as _;
use guerdon_fusion::{FitKind, Moments, Sample, fit};
use guerdon_types::Normaliser;

use crate::cli::{FitArgs, FittedKind};
use crate::output::outln;

impl FittedKind {
    const fn kind(self) -> FitKind {
        match self {
            Self::Centred => FitKind::Centred,
            Self::Standardised => FitKind::Standardised,
            Self::Running => FitKind::Running,
            Self::Quantile => FitKind::Quantile,
            Self::Par => FitKind::Par,
            Self::LengthDebias => FitKind::LengthDebias,
        }
    }
}

pub(super) fn run(args: &FitArgs) -> anyhow::Result<ExitCode> {
    let rows = rows::read_rows(args)?;
    let needs_lengths = args.kind == FittedKind::LengthDebias;
    let found = values::of(&rows, args.source.as_deref(), needs_lengths)
        .with_context(|| args.on.display().to_string())?;
    let fitted = fit(args.kind.kind(), &found.samples)
        .with_context(|| format!("{}, source `{}`", args.on.display(), found.source))?;
    if args.json {
        outln!("{}", serde_json::to_string(&fitted)?)?;
    } else {
        outln!("# {}", summary(&found.source, &found.samples))?;
        outln!("normalise = {}", inline(&fitted)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A comment on the reference set.
fn summary(source: &str, samples: &[Sample]) -> String {
    let moments = Moments::of(samples.iter().map(|sample| sample.value));
    let std =
        moments.std().map_or_else(String::new, |std| format!(", standard deviation {std:.4}"));
    let count = moments.count();
    format!("`{source}`: {count} values, mean {:.4}{std}", moments.mean())
}

/// A normaliser as an inline table of TOML.
fn inline(normaliser: &Normaliser) -> anyhow::Result<String> {
    let table = toml::Table::try_from(normaliser)?;
    // `kind` is first, as people write it.
    let kind = table.get("kind").map(|kind| format!("kind = {kind}"));
    let rest = table.iter().filter(|(key, _)| *key != "kind");
    let entries: Vec<String> =
        kind.into_iter().chain(rest.map(|(key, value)| format!("{key} = {value}"))).collect();
    Ok(format!("{{ {} }}", entries.join(", ")))
}
