//! The paper's question on our bench: the same policy, the same budget, several seeds, five ways to make the reward.
//!
//! Written are runs (`arm/seed/`), what the raters say of each in `ratings.jsonl` (the input of `guerdon eval`), and
//! `study.svg`. A study that was stopped goes on where it stands.

mod examine;
mod raters;

pub use examine::{Exam, examine};
pub use raters::Rater;

use std::path::Path;

use guerdon_client::Client;

use crate::checkpoint::{Base, Run};
use crate::curves::{self, Line, Panel};
use crate::metrics::{Row, mean};
use crate::rl::{self, Arm, Settings};
use crate::{files, metrics};

/// What a study is asked for.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Plan {
    /// Which arms
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Arm::ALL)]
    pub arms: Vec<Arm>,
    /// Runs of each arm
    #[arg(long, default_value_t = 5)]
    pub seeds: u64,
}

/// Runs the study in `folder`. The arm and the seed of `settings` are set by the plan.
///
/// # Errors
/// As [`rl::train`].
pub async fn run(
    folder: &Path,
    base: &Base,
    plan: &Plan,
    settings: &Settings,
    client: &Client,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let exam = Exam::set(base, settings)?;
    let mut told = String::new();
    // Seed by seed, so that a study that is stopped early compares all arms.
    for seed in 1..=plan.seeds {
        told.push_str(&examine(&exam, "imitation", seed, base, settings)?);
        for &arm in &plan.arms {
            tell(&format!("{} seed {seed}", arm.name()));
            let settings = Settings { arm, seed, ..*settings };
            let run = Run(folder.join(format!("{}/{seed}", arm.name())));
            let trained = rl::train(&run, base, &settings, client, tell).await?;
            told.push_str(&examine(&exam, arm.name(), seed, &trained, &settings)?);
            files::write(&folder.join("ratings.jsonl"), told.as_bytes())?;
            curves::draw(&folder.join("study.svg"), &panels(folder, plan)?)?;
        }
    }
    Ok(())
}

/// The arms' curves: mean over seeds, with the range of seeds as a band.
fn panels(folder: &Path, plan: &Plan) -> anyhow::Result<Vec<Panel>> {
    let mut arms: Vec<(Arm, Vec<Vec<Row>>)> = Vec::new();
    for &arm in &plan.arms {
        let runs = (1..=plan.seeds)
            .map(|seed| metrics::load(&folder.join(format!("{}/{seed}/metrics.jsonl", arm.name()))))
            .collect::<anyhow::Result<_>>()?;
        arms.push((arm, runs));
    }
    let figures = [
        ("reward model, held out", "held_out/rm"),
        ("rules, points, held out", "held_out/rules"),
        ("share with a rule failure, held out", "held_out/rule_failures"),
        ("KL to the imitation policy, nats a reply", "kl/row_mean"),
        ("tokens of a reply, held out", "held_out/tokens"),
        ("reward model, sampled", "sampled/rm"),
    ];
    let panel = |(title, figure): (&str, &str)| Panel {
        title: title.to_owned(),
        lines: arms.iter().map(|(arm, runs)| line(arm.name(), runs, figure)).collect(),
    };
    Ok(figures.into_iter().map(panel).collect())
}

fn line(name: &str, runs: &[Vec<Row>], figure: &str) -> Line {
    let mut line = Line { name: name.to_owned(), ..Line::default() };
    let last = runs.iter().flatten().map(|row| row.update).max().unwrap_or(0);
    for update in 0..=last {
        let found: Vec<f64> = runs
            .iter()
            .flatten()
            .filter(|row| row.update == update)
            .filter_map(|row| row.get(figure))
            .collect();
        let Some(centre) = mean(found.iter().copied()) else { continue };
        let low = found.iter().copied().fold(f64::INFINITY, f64::min);
        let high = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        line.points.push((update as f64, centre));
        line.band.push((update as f64, low, high));
    }
    line
}
