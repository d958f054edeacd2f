//! `guerdon view`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  guerdon score dialogues.jsonl --local --out rewards.jsonl
  guerdon view rewards.jsonl --rollouts dialogues.jsonl              serve the pages on loopback
  guerdon view .guerdon/ledger.sqlite                                show the ledger of a server
  guerdon view rewards.jsonl --rollouts dialogues.jsonl --bundle pages
                                                                     write them as files to share";

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// Scored rollouts: what `guerdon score` or POST /v1/score wrote, or a ledger of a server
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The rollouts that were scored, one JSON object per line: the pages then show the dialogues
    #[arg(long, value_name = "IN.jsonl")]
    pub(crate) rollouts: Option<PathBuf>,
    /// Write the pages into this folder, which may be new, and serve nothing
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bundle: Option<PathBuf>,
    /// The loopback address to serve on; port 0 picks a free one
    #[arg(
        long,
        default_value = "127.0.0.1:8788",
        value_name = "ADDRESS",
        conflicts_with = "bundle"
    )]
    pub(crate) listen: SocketAddr,
}
