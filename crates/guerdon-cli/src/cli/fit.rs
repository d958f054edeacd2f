//! `guerdon fit` and `guerdon plot`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ConfigurationArgs;

const FIT: &str = "\
Each line of the file is one of
  {\"messages\": [...]}                  a rollout, which is scored in this process
  {\"id\": \"r-1\", \"turns\": [...]}        a result of `guerdon score`
  {\"value\": 1.5, \"length\": 80}         a number of your own, with the length of the reply in characters
Turns on which the source abstained are left out.

Examples:
  guerdon fit standardised --on reference.jsonl
  guerdon fit length_debias --on reference.jsonl --source rm
  guerdon fit running --on results.jsonl";

/// A reference set, and the normaliser to fit on it.
#[derive(Debug, Args)]
#[command(after_help = FIT)]
pub(crate) struct FitArgs {
    /// The kind of normaliser
    pub(crate) kind: FittedKind,
    /// The reference set
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) on: PathBuf,
    /// The source; default: the only one with values, or else `rm`
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// The rollouts of the results, for the lengths of replies
    #[arg(long, value_name = "IN.jsonl")]
    pub(crate) rollouts: Option<PathBuf>,
    /// The profile that scores rollouts; default: the configuration's
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Print the normaliser as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
}

/// A kind of normaliser that can be fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum FittedKind {
    /// Subtract the mean
    Centred,
    /// Subtract the mean, divide by the standard deviation
    Standardised,
    /// As standardised, with moments that a server may go on observing
    Running,
    /// The share of the reference set that is lower, from -1 to 1
    Quantile,
    /// Sigmoid of the distance to the mean, from -1/2 to 1/2
    Par,
    /// Subtract the trend with the length of the reply
    LengthDebias,
}

/// A curve to draw.
#[derive(Debug, Subcommand)]
pub(crate) enum PlotCommand {
    /// Draw the result of a normaliser against the value of a source
    #[command(after_help = "\
Example:
  guerdon plot normaliser '{ kind = \"par\", reference = 1.5, centred = true }' --out par.svg")]
    Normaliser {
        /// The normaliser, as in a configuration or as JSON
        #[arg(value_name = "NORMALISER")]
        normaliser: String,
        /// The length of the reply in characters
        #[arg(long, default_value_t = 0, value_name = "CHARACTERS")]
        length: usize,
        /// The lowest value; default: from the numbers of the normaliser
        #[arg(long, allow_hyphen_values = true, requires = "to", value_name = "VALUE")]
        from: Option<f64>,
        /// The highest value
        #[arg(long, allow_hyphen_values = true, requires = "from", value_name = "VALUE")]
        to: Option<f64>,
        /// Write the SVG to this file; default: standard output
        #[arg(long, short, value_name = "FILE.svg")]
        out: Option<PathBuf>,
    },
    /// Draw the reward of a turn against its points, for several scores of the reward model
    #[command(after_help = "\
Example:
  guerdon plot fusion '{ method = \"repo\", delta = 0.2 }' --out fusion.svg")]
    Fusion {
        /// Changes to the default fusion, as in a configuration or as JSON
        #[arg(default_value = "{}", value_name = "FUSION")]
        fusion: String,
        /// The scores of the reward model, one line each, separated by commas
        #[arg(
            long,
            allow_hyphen_values = true,
            value_delimiter = ',',
            default_value = "-2,-1,-0.1,0.1,1,2",
            value_name = "SCORES"
        )]
        scores: Vec<f64>,
        /// Draw turns on which a veto fired
        #[arg(long)]
        veto: bool,
        /// Write the SVG to this file; default: standard output
        #[arg(long, short, value_name = "FILE.svg")]
        out: Option<PathBuf>,
    },
}
