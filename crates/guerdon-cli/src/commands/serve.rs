//! `guerdon serve`: loads the configuration and the sources, listens, prints the address, and stops
//! on a signal.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use guerdon_server::config::Override;
use guerdon_server::{BoundSocket, Engine, RunningServer, install_telemetry, start_on};
use guerdon_types::{Info, Versions};
use tokio::signal::unix::{SignalKind, signal};

use super::setup::runtime;
use crate::cli::ServeArgs;
use crate::output::standard_output;

pub(super) fn run(serve: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut source = serve.configuration.source()?;
    if let Some(listen) = &serve.listen {
        source.overrides.push(Override::new("--listen", &["server", "listen"], listen.clone()));
    }
    install_telemetry(&source.load()?.server)?;
    runtime()?.block_on(async move {
        // Installed before the sources load, so that a signal during the start is not lost.
        let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
        // Bound before the models load, so that a taken port is reported at once.
        let socket = BoundSocket::bind(&source)?;
        let engine = tokio::task::spawn_blocking(move || Engine::load(source)).await??;
        let running = start_on(Arc::clone(&engine), socket).await?;
        // Serves even if the reader of standard output has gone, as in `guerdon serve | head -1`.
        drop(announce(&running, &engine.info()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing requests in flight");
        tokio::select! {
            finished = running.stop() => Ok(if finished { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
            _ = terminate.recv() => Ok(forced()),
            _ = interrupt.recv() => Ok(forced()),
        }
    })
}

/// The exit after a second signal: requests in flight are aborted.
fn forced() -> ExitCode {
    tracing::warn!("second stop signal: aborting unfinished requests");
    ExitCode::FAILURE
}

/// Prints the address, the profiles with their sources, and an example request.
fn announce(running: &RunningServer, info: &Info) -> std::io::Result<()> {
    let mut out = standard_output();
    let url = format!("http://{}", running.address);
    writeln!(out, "guerdon {} listens on {url}   docs: {url}/docs", info.version)?;
    for (name, profile) in &info.profiles {
        let mark = if name == info.default_profile.as_str() { " (default)" } else { "" };
        writeln!(out, "\nprofile {name}{mark}")?;
        for source in &profile.sources {
            writeln!(out, "  {:<6} {}", source.id.as_str(), source.about)?;
            for (what, version) in versions_of(source.id.as_str(), &profile.versions) {
                writeln!(out, "         {what} {}", short(version))?;
            }
        }
        writeln!(out, "  fusion {}", serde_json::to_string(&profile.versions.fusion)?)?;
    }
    writeln!(out, "\ntry it:")?;
    writeln!(
        out,
        "  curl -s {url}/v1/score -H 'content-type: application/json' --data-binary @examples/data/request.json"
    )?;
    out.flush()
}

fn versions_of<'a>(source: &str, versions: &'a Versions) -> Vec<(&'a str, &'a str)> {
    let texts = |texts: &'a std::collections::BTreeMap<String, String>| {
        texts.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect()
    };
    match source {
        "rm" => versions.rm.iter().map(|hash| ("version", hash.as_str())).collect(),
        "judge" => texts(&versions.judge),
        "rules" => texts(&versions.rules),
        _ => texts(&versions.other),
    }
}

/// Shortens a hash to `sha256:` and 12 digits.
fn short(version: &str) -> &str {
    version.get(.."sha256:".len() + 12).unwrap_or(version)
}
