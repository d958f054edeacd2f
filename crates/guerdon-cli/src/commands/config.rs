//! `guerdon config`: checks that the configuration loads, and prints it.

use std::process::ExitCode;

use guerdon_server::Engine;

use super::setup::runtime;
use crate::cli::ConfigCommand;
use crate::output::{out, outln};

pub(super) fn run(config: ConfigCommand) -> anyhow::Result<ExitCode> {
    match config {
        ConfigCommand::Check(configuration) => {
            let engine = Engine::load(configuration.source()?)?;
            let info = engine.info();
            for (name, profile) in &info.profiles {
                let sources: Vec<_> =
                    profile.sources.iter().map(|source| source.id.to_string()).collect();
                outln!("profile {name}: {}", sources.join(", "))?;
                if let Some(digest) = &profile.versions.digest {
                    outln!("  digest {digest}")?;
                }
            }
            outln!("ok")?;
            runtime()?.block_on(engine.close());
        }
        // The configuration holds the places of secrets, never the secrets.
        ConfigCommand::Show(configuration) => {
            out!("{}", toml::to_string_pretty(&configuration.source()?.load()?)?)?
        }
    }
    Ok(ExitCode::SUCCESS)
}
