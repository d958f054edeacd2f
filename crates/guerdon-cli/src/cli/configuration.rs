//! The flags that choose the configuration.

use std::path::PathBuf;

use clap::Args;

/// The source of the configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigurationArgs {
    /// The TOML file; paths in it are relative to its folder. Variables such as
    /// GUERDON__SERVER__LOG override it, and flags override both. Default: guerdon.toml in the
    /// current folder, or without one the example that is installed with guerdon
    #[arg(long, env = "GUERDON_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Use this judge in the default profile: a name under `judges` in the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) judge: Option<String>,
}
