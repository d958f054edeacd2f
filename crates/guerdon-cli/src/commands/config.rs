//! `guerdon config`: what is configured, and whether it can be brought to life.

use std::process::ExitCode;

use guerdon_server::Engine;

use crate::cli::Config;

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    match config {
        Config::Check(configuration) => {
            let engine = Engine::load(configuration.source()?)?;
            let info = engine.info();
            for (name, profile) in &info.profiles {
                let sources: Vec<_> =
                    profile.sources.iter().map(|source| source.id.to_string()).collect();
                println!("profile {name}: {}", sources.join(", "));
            }
            println!("ok");
            super::runtime()?.block_on(engine.close());
        }
        // Secrets are never in it: the configuration names where they are, and that is all it holds.
        Config::Show(configuration) => {
            print!("{}", toml::to_string_pretty(&configuration.source()?.load()?)?)
        }
    }
    Ok(ExitCode::SUCCESS)
}
