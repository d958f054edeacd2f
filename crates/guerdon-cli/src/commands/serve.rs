//! `guerdon serve`: loads the configuration and the sources, listens, prints the address, and stops
//! on a signal.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use guerdon_server::config::{ConfigSource, Override};
use guerdon_server::{BoundSocket, Engine, RunningServer, install_telemetry, start_on};
use guerdon_types::{Info, Versions};

use super::setup::runtime;
use super::signals::{ProcessSignals, StopRules, exit_code};
use crate::cli::ServeArgs;
use crate::output::standard_output;

/// A second signal ends the process at once.
const STOP: StopRules =
    StopRules { notice: None, grace: Duration::ZERO, holds_hangup: true, status: |_| 1 };

pub(super) fn run(serve: &ServeArgs) -> anyhow::Result<ExitCode> {
    // Before anything else, so that no signal during the start is lost or ends the process.
    let signals = ProcessSignals::listen(STOP)?;
    let mut source = serve.configuration.source()?;
    if let Some(listen) = &serve.listen {
        source.overrides.push(Override::new("--listen", &["server", "listen"], listen.clone()));
    }
    install_telemetry(&source.load()?.server)?;
    let runtime = runtime()?;
    let stopped = runtime.block_on(serve_until_stopped(source, &signals));
    // Work on behalf of clients that have gone may still run on blocking threads.
    runtime.shutdown_background();
    Ok(exit_code(stopped?))
}

/// Serves until a stop signal. Returns whether everything that was taken was answered.
async fn serve_until_stopped(
    source: ConfigSource,
    signals: &ProcessSignals,
) -> anyhow::Result<bool> {
    // Bound before the models load, so that a taken port is reported at once.
    let socket = BoundSocket::bind(&source)?;
    let load = tokio::task::spawn_blocking(move || Engine::load(source));
    let stopped_while_loading = async {
        signals.stopped().await;
        // A load that is nearly done ends more orderly than one that is cut off.
        tokio::time::sleep(signals.time_to_stop()).await;
    };
    let engine = tokio::select! {
        loaded = load => loaded??,
        () = stopped_while_loading => {
            tracing::info!("stopping: the sources are not loaded to their end");
            return Ok(true);
        }
    };
    if signals.first().is_some() {
        tracing::info!("stopping: nothing was served");
        return Ok(true);
    }
    signals.working(engine.snapshot().config.server.drain);
    let running = start_on(Arc::clone(&engine), socket).await?;
    // Serves even if the reader of standard output has gone, as in `guerdon serve | head -1`.
    drop(announce(&running, &engine.info()));
    signals.stopped().await;
    tracing::info!("stopping: finishing requests in flight");
    let stopped = tokio::time::timeout(signals.time_to_stop(), running.stop()).await;
    let answered = stopped.unwrap_or(false);
    if answered {
        signals.answered();
    }
    Ok(answered)
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
