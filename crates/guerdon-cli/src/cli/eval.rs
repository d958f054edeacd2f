//! `guerdon eval`.

use std::path::PathBuf;

use clap::Args;

/// Computes measures from files.
#[derive(Debug, Args)]
#[command(after_help = "\
A line is one of
  {\"measure\": \"reply\", \"method\": \"repo\", \"conversation\": \"c1\", \"turn\": 2, \"rater\": \"ann\", \"rating\": 4}
  {\"measure\": \"bad_case\", \"method\": \"repo\", \"case\": \"b1\", \"rater\": \"ann\", \"fixed\": true, \"broken\": false}
  {\"measure\": \"outcome\", \"method\": \"repo\", \"conversation\": \"c1\", \"outcome\": \"responded\", \"yes\": true}
and may name the \"run\" (a seed, say) that it belongs to.")]
pub(crate) struct Eval {
    /// Ratings, verdicts and outcomes, one JSON object a line; `-` reads standard input
    #[arg(required = true, value_name = "IN.jsonl")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Test every method against this one
    #[arg(long, value_name = "METHOD")]
    pub(crate) against: Option<String>,
    /// A rater who gives at least this calls a reply excellent
    #[arg(long, default_value_t = 5.0, value_name = "RATING")]
    pub(crate) excellent: f64,
    /// So many raters must call a reply excellent; default: more than half of those who rated it
    #[arg(long, value_name = "N")]
    pub(crate) quorum: Option<usize>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}
