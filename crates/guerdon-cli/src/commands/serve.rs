//! `guerdon serve`: loads the configuration and the sources, listens, prints the address, and stops
//! on a signal.

use std::io::Write as _;
use std::path::Path;
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

/// The request of the example if there is no sample.
const DIALOGUE: &str = r#"{"rollouts": [{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Good morning."}]}]}"#;

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
    let telemetry = install_telemetry(&source.load()?.server, &*source.environment)?;
    let runtime = runtime()?;
    let stopped = runtime.block_on(serve_until_stopped(source, &signals));
    // Work on behalf of clients that have gone may still run on blocking threads.
    runtime.shutdown_background();
    telemetry.stop();
    Ok(exit_code(stopped?))
}

/// Serves until a stop signal. Returns whether everything that was taken was answered.
async fn serve_until_stopped(
    source: ConfigSource,
    signals: &ProcessSignals,
) -> anyhow::Result<bool> {
    let root = source.root();
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
    drop(announce(&running, &engine.info(), &root));
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
fn announce(running: &RunningServer, info: &Info, root: &Path) -> std::io::Result<()> {
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
    writeln!(out, "  {}", example(root, &url))?;
    out.flush()
}

/// A command that asks the server at `url` for rewards: of the sample in the folder of the
/// configuration, or of a short dialogue.
fn example(root: &Path, url: &str) -> String {
    // `./` in front of a plain name would only be noise.
    let place = |name: &str| root.strip_prefix(".").unwrap_or(root).join(name);
    let sample = place("rollouts.jsonl");
    if sample.is_file() {
        return format!("guerdon score {} --table --url {url}", sample.display());
    }
    let request = place("examples/data/request.json");
    let data = match request.is_file() {
        true => format!("--data-binary @{}", request.display()),
        false => format!("-d '{DIALOGUE}'"),
    };
    format!("curl -s {url}/v1/score -H 'content-type: application/json' {data}")
}

fn versions_of<'a>(source: &str, versions: &'a Versions) -> Vec<(&'a str, &'a str)> {
    let texts = |texts: &'a std::collections::BTreeMap<String, String>| {
        texts.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect()
    };
    match source {
        "rm" => versions.rm.iter().map(|hash| ("version", hash.as_str())).collect(),
        "judge" => texts(&versions.judge),
        "rules" => texts(&versions.rules),
        // An external source has texts of its own; that of a named one is among the settings.
        _ => {
            let named = versions.settings.get("sources").and_then(|all| all.get(source));
            let version = named.and_then(|one| one.get("version")).and_then(|one| one.as_str());
            match version {
                Some(version) => vec![("version", version)],
                None => texts(&versions.other),
            }
        }
    }
}

/// Shortens a hash to `sha256:` and 12 digits.
fn short(version: &str) -> &str {
    version.get(.."sha256:".len() + 12).unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_names_the_sample_that_is_there_and_else_brings_its_own_dialogue() {
        let folder = tempfile::tempdir().unwrap();
        let (root, url) = (folder.path(), "http://h");
        let create = |name: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap();
        };
        let inline = example(root, url);
        let body = inline.split('\'').rev().nth(1).unwrap();
        assert!(serde_json::from_str::<guerdon_types::ScoreRequest>(body).is_ok(), "{inline}");
        create("examples/data/request.json");
        assert!(example(root, url).ends_with("/examples/data/request.json"));
        create("rollouts.jsonl");
        assert!(example(root, url).starts_with("guerdon score /"));
        let here = example(Path::new("."), url);
        assert!(!here.contains("./"), "{here}");
    }
}
