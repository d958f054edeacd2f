//! `guerdon rm`: what a reward model folder holds.

use std::process::ExitCode;
use std::sync::Arc;

use guerdon_model::{Model, ModelConfig};

use crate::cli::Rm;

pub(super) fn run(rm: Rm) -> anyhow::Result<ExitCode> {
    let Rm::Info { model, runtime } = rm;
    let config = ModelConfig { runtime, ..ModelConfig::new(model) };
    let model = Model::load(&config, Arc::new(|_| {}))?;
    println!("{}", model.about());
    println!("version {}", model.hash());
    println!("{}", toml::to_string_pretty(model.manifest())?);
    model.shutdown();
    Ok(ExitCode::SUCCESS)
}
