//! `guerdon eval`.

use std::path::PathBuf;

use clap::Args;

/// Input files and settings of the measures.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is one of
  {\"measure\": \"reply\", \"method\": \"repo\", \"conversation\": \"c1\", \"turn\": 2, \"rater\": \"ann\", \"rating\": 4}
  {\"measure\": \"bad_case\", \"method\": \"repo\", \"case\": \"b1\", \"rater\": \"ann\", \"fixed\": true, \"broken\": false}
  {\"measure\": \"outcome\", \"method\": \"repo\", \"conversation\": \"c1\", \"outcome\": \"responded\", \"yes\": true}
and may have a \"run\", such as a seed.")]
pub(crate) struct EvalArgs {
    /// Ratings, verdicts and outcomes, one JSON object per line; `-` reads standard input
    #[arg(required = true, value_name = "IN.jsonl")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Test every method against this one
    #[arg(long, value_name = "METHOD")]
    pub(crate) against: Option<String>,
    /// The lowest rating that counts as excellent
    #[arg(long, default_value_t = 5.0, value_name = "RATING")]
    pub(crate) excellent: f64,
    /// Raters that must rate a reply excellent; default: more than half of its raters
    #[arg(long, value_name = "N")]
    pub(crate) quorum: Option<usize>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}
