//! `guerdon init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(super) const EXAMPLES: &str = "\
Examples:
  guerdon init                            the template hotel, into the current folder
  guerdon init reward --template math     a reward for numeric answers, into the new folder reward

No file is replaced: if one of them exists, nothing is written.";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder, which may be new
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The kind of dialogue
    #[arg(long, short, value_enum, default_value_t = Template::Hotel)]
    pub(crate) template: Template,
    /// Leave out the bundled reward model (11 MB), which the template hotel uses if it is installed
    #[arg(long)]
    pub(crate) no_model: bool,
}

/// A template of `guerdon init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// An agent who negotiates room prices with hotels
    Hotel,
    /// An agent of customer support
    Support,
    /// Answers to mathematical questions with a number as their solution
    Math,
    /// One pack and one rubric to start from
    Blank,
}
