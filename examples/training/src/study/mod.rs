//! The paper's comparison on synthetic data: one policy, one budget, several seeds, five arms.
//!
//! A study writes its runs (`arm/seed/`), the raters' ratings in `ratings.jsonl` (the input of
//! `guerdon eval`), and `study.svg`. A stopped study can be resumed.

mod examine;
mod raters;

pub use examine::{Exam, examine};
pub use raters::Rater;

use std::path::Path;

use guerdon_client::Client;

use crate::checkpoint::{Base, RunFolder};
use crate::curves::{self, Curve, Panel};
use crate::metrics::{MetricsRow, mean};
use crate::rl::{self, Arm, RlSettings};
use crate::{files, metrics};

/// The arms and seeds of a study.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct StudyPlan {
    /// Arms to compare
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Arm::ALL)]
    pub arms: Vec<Arm>,
    /// Runs of each arm
    #[arg(long, default_value_t = 5)]
    pub seeds: u64,
}

/// A study in a folder.
#[derive(Debug, Clone, Copy)]
pub struct Study<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The policy from which all runs start.
    pub base: &'a Base,
    /// The arms and seeds.
    pub plan: &'a StudyPlan,
    /// The settings of all runs, except for arm and seed.
    pub settings: &'a RlSettings,
}

impl Study<'_> {
    /// Runs or resumes the study.
    ///
    /// # Errors
    /// The errors of [`rl::train`].
    pub async fn run(&self, client: &Client, log: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let Self { folder, base, plan, settings } = *self;
        let exam = Exam::draw(base, settings)?;
        let mut ratings = String::new();
        // Seed by seed, so that a study that is stopped early compares all arms.
        for seed in 1..=plan.seeds {
            ratings.push_str(&examine(&exam, "imitation", seed, base, settings)?);
            for &arm in &plan.arms {
                log(&format!("{} seed {seed}", arm.name()));
                let settings = RlSettings { arm, seed, ..*settings };
                let run = RunFolder(folder.join(format!("{}/{seed}", arm.name())));
                let trained = rl::train(&run, base, &settings, client, log).await?;
                ratings.push_str(&examine(&exam, arm.name(), seed, &trained, &settings)?);
                files::write(&folder.join("ratings.jsonl"), ratings.as_bytes())?;
                curves::draw(&folder.join("study.svg"), &panels(folder, plan)?)?;
            }
        }
        Ok(())
    }
}

/// The curves of the arms: mean over seeds, with the range of seeds as a band.
fn panels(folder: &Path, plan: &StudyPlan) -> anyhow::Result<Vec<Panel>> {
    let mut arms: Vec<(Arm, Vec<Vec<MetricsRow>>)> = Vec::new();
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
        ("KL to the imitation policy, nats per reply", "kl/row_mean"),
        ("tokens per reply, held out", "held_out/tokens"),
        ("reward model, sampled", "sampled/rm"),
    ];
    let panel = |(title, figure): (&str, &str)| Panel {
        title: title.to_owned(),
        lines: arms.iter().map(|(arm, runs)| line(arm.name(), runs, figure)).collect(),
    };
    Ok(figures.into_iter().map(panel).collect())
}

/// The curve of one arm.
fn line(name: &str, runs: &[Vec<MetricsRow>], figure: &str) -> Curve {
    let mut line = Curve { name: name.to_owned(), ..Curve::default() };
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
