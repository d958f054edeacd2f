//! `guerdon score`: scores a file of rollouts into a file of results, one line each, in the same
//! order. A line that cannot be read gets a result with an error; the others are scored.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, future};
use guerdon_client::Client;
use guerdon_server::config::{Environment as _, ProcessEnvironment};
use guerdon_server::secrets::{SecretPlace, resolve};
use guerdon_types::{
    AdvantagesRequest, Problem, ProblemCode, ProfileName, Rollout, RolloutEntry, RolloutId,
    RolloutResult, ScoreRequest, SourceId, StreamLine, refuse_shared_ids,
};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret as _;

use super::local::LocalEngine;
use super::setup::{read, runtime};
use super::table::table;
use crate::cli::ScoreArgs;
use crate::output::{StandardOutput, errln};

/// Rollouts per request: few enough for the limits of any server and the deadline of a slow judge.
/// With advantages the whole file is one request, because groups are compared across it.
const CHUNK: usize = 128;

pub(super) fn run(score: &ScoreArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(score_file(score))
}

async fn score_file(score: &ScoreArgs) -> anyhow::Result<ExitCode> {
    let template = template(score)?;
    let rollouts = read_rollouts(score)?;
    let scorer = ScoringEngine::new(score).await?;
    let progress = progress(rollouts.len());
    let mut output = ResultWriter::new(score, rollouts.len())?;

    let mut good = Vec::new();
    for (index, rollout) in rollouts.into_iter().enumerate() {
        match rollout {
            Ok(rollout) => good.push((index, *rollout)),
            Err(result) => {
                output.take(index, *result)?;
                progress.inc(1);
            }
        }
    }
    let chunk = if template.advantages.is_some() { good.len().max(1) } else { CHUNK };
    let mut failure = None;
    while !good.is_empty() {
        let (lines, rollouts): (Vec<usize>, Vec<Rollout>) =
            good.drain(..good.len().min(chunk)).unzip();
        let mut left: BTreeMap<usize, RolloutId> = lines
            .iter()
            .zip(&rollouts)
            .map(|(line, rollout)| (*line, rollout.id.clone().unwrap_or_else(|| "?".into())))
            .collect();
        let outcome = async {
            let mut results = scorer.stream(ScoreRequest { rollouts, ..template.clone() }).await?;
            while let Some(result) = results.next().await {
                let (index, result) = result?;
                let line = lines
                    .get(index)
                    .context("the server answered for a rollout that was not sent")?;
                left.remove(line);
                output.take(*line, result)?;
                progress.inc(1);
            }
            anyhow::Ok(())
        }
        .await;
        // A missing result still gets a line, so that the output keeps one line per rollout.
        for (line, id) in left {
            let why = outcome
                .as_ref()
                .err()
                .map_or_else(|| "the server sent no result".to_owned(), ToString::to_string);
            let error = Some(Problem::new(ProblemCode::Unscored, why));
            output.take(
                line,
                RolloutResult { id, reward: None, advantage: None, turns: Vec::new(), error },
            )?;
        }
        failure = failure.or(outcome.err());
    }
    progress.finish_and_clear();
    scorer.close().await;
    // Writes the results that arrived, even if the request failed later.
    let unscored = output.finish(score.table)?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    if unscored > 0 {
        errln!("{unscored} of {} rollouts have no reward; see their `error`", output.total);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The request without its rollouts.
fn template(score: &ScoreArgs) -> anyhow::Result<ScoreRequest> {
    let fusion =
        score.fusion.as_deref().map(serde_json::from_str).transpose().context("--fusion")?;
    let sources =
        (!score.sources.is_empty()).then(|| score.sources.iter().map(SourceId::from).collect());
    Ok(ScoreRequest {
        sources,
        fusion,
        profile: score.profile.as_deref().map(ProfileName::from),
        advantages: score.advantages.clone().map(|estimator| AdvantagesRequest { estimator }),
        ..ScoreRequest::default()
    })
}

type InputLine = Result<Box<Rollout>, Box<RolloutResult>>;

fn read_rollouts(score: &ScoreArgs) -> anyhow::Result<Vec<InputLine>> {
    let text = if score.input.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        read(&score.input)?
    };
    Ok(parse_lines(&text))
}

/// Each line as a rollout with an id and a turn to score, or as a result with an error. The checks
/// are those of the server.
fn parse_lines(text: &str) -> Vec<InputLine> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (numbers, mut entries): (Vec<usize>, Vec<RolloutEntry>) =
        lines.map(|(number, line)| (number + 1, RolloutEntry::parse(line))).unzip();
    refuse_shared_ids(&mut entries);
    let line = |(index, (number, entry)): (usize, (usize, RolloutEntry))| match entry.rollout {
        Ok(mut rollout) => {
            rollout.id.get_or_insert_with(|| RolloutId::from(index.to_string()));
            Ok(Box::new(rollout))
        }
        Err(mut invalid) => {
            invalid.detail.insert_str(0, &format!("line {number}: "));
            let id = entry.id.unwrap_or_else(|| RolloutId::from(format!("line-{number}")));
            let error = Some(Problem::from(invalid));
            Err(Box::new(RolloutResult {
                id,
                reward: None,
                advantage: None,
                turns: Vec::new(),
                error,
            }))
        }
    };
    numbers.into_iter().zip(entries).enumerate().map(line).collect()
}

/// The engine that scores: in this process, or a server's.
enum ScoringEngine {
    Local(LocalEngine),
    Remote(Box<Client>),
}

impl ScoringEngine {
    async fn new(score: &ScoreArgs) -> anyhow::Result<Self> {
        if score.local {
            return Ok(Self::Local(LocalEngine::load(score.configuration.source()?).await?));
        }
        let mut builder = Client::builder(&score.url);
        if let Some(token) = token(score)? {
            builder = builder.token(token);
        }
        Ok(Self::Remote(Box::new(builder.build()?)))
    }

    async fn stream(
        &self,
        request: ScoreRequest,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<(usize, RolloutResult)>>> {
        match self {
            Self::Local(local) => local.stream(request),
            Self::Remote(client) => {
                let lines = client.stream(&request).await?;
                Ok(lines
                    .filter_map(|line| {
                        future::ready(match line {
                            Ok(StreamLine::Result(streamed)) => {
                                Some(Ok((streamed.index, streamed.result)))
                            }
                            Ok(StreamLine::Summary(_)) => None,
                            Err(error) => Some(Err(error.into())),
                        })
                    })
                    .boxed())
            }
        }
    }

    async fn close(&self) {
        if let Self::Local(local) = self {
            local.close().await;
        }
    }
}

fn token(score: &ScoreArgs) -> anyhow::Result<Option<String>> {
    let Some(file) = &score.token_file else {
        return Ok(ProcessEnvironment.var("GUERDON_TOKEN"));
    };
    let what = format!("--token-file {}", file.display());
    let place = SecretPlace { what: &what, env: None, file: Some(file) };
    let token = resolve(place, Path::new(""), &ProcessEnvironment)?;
    Ok(token.map(|token| token.expose_secret().to_owned()))
}

fn progress(rollouts: usize) -> ProgressBar {
    let progress = ProgressBar::new(rollouts as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:32} {pos}/{len} rollouts  {per_sec}  {eta} left")
    {
        progress.set_style(style);
    }
    if io::stderr().is_terminal() {
        progress.enable_steady_tick(Duration::from_millis(200));
    }
    progress
}

/// Writes results in the order of the input, each as soon as all results before it have arrived.
struct ResultWriter {
    sink: Box<dyn Write>,
    /// The results of a table, which is printed at the end.
    kept: Option<Vec<RolloutResult>>,
    waiting: BTreeMap<usize, RolloutResult>,
    next: usize,
    total: usize,
    unscored: usize,
}

impl ResultWriter {
    fn new(score: &ScoreArgs, total: usize) -> anyhow::Result<Self> {
        let sink: Box<dyn Write> = match &score.out {
            Some(path) => {
                let file = std::fs::File::create(path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Box::new(io::BufWriter::new(file))
            }
            None => Box::new(StandardOutput::default()),
        };
        let kept = score.table.then(Vec::new);
        Ok(Self { sink, kept, waiting: BTreeMap::new(), next: 0, total, unscored: 0 })
    }

    fn take(&mut self, line: usize, result: RolloutResult) -> anyhow::Result<()> {
        self.waiting.insert(line, result);
        while let Some(result) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.write(result)?;
        }
        Ok(())
    }

    fn write(&mut self, result: RolloutResult) -> anyhow::Result<()> {
        self.unscored += usize::from(result.reward.is_none());
        if let Some(kept) = &mut self.kept {
            kept.push(result);
            return Ok(());
        }
        serde_json::to_writer(&mut self.sink, &result)?;
        self.sink.write_all(b"\n").context("cannot write a result")
    }

    /// Writes the remaining results, even after a gap. Returns the number of results without a
    /// reward.
    fn finish(&mut self, as_table: bool) -> anyhow::Result<usize> {
        for result in std::mem::take(&mut self.waiting).into_values() {
            self.write(result)?;
        }
        if let (true, Some(kept)) = (as_table, self.kept.as_ref().filter(|kept| !kept.is_empty())) {
            writeln!(self.sink, "{}", table(kept))?;
        }
        self.sink.flush().context("cannot write the results")?;
        Ok(self.unscored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Vec<InputLine> {
        parse_lines(&lines.join("\n"))
    }

    const GOOD: &str = r#"{"messages": [{"role": "assistant", "content": "a"}]}"#;

    #[test]
    fn line_without_an_id_has_its_index_as_id() {
        let rollouts = parse(&["", GOOD, "", GOOD]);
        assert_eq!(rollouts[1].as_ref().unwrap().id.as_ref().unwrap().as_str(), "1");
    }

    #[test]
    fn line_that_cannot_be_scored_becomes_a_result_with_the_error() {
        let named = r#"{"id": "r", "messages": [{"role": "assistant", "content": "a"}]}"#;
        let lines = parse(&[
            r#"{"messages": [{"role": "robot"}]}"#,
            r#"{"messages": []}"#,
            named,
            GOOD,
            named,
        ]);
        let error = |index: usize| lines[index].as_ref().unwrap_err().error.clone().unwrap();
        assert!(error(0).detail.starts_with("line 1: "), "{}", error(0).detail);
        assert_eq!(error(0).pointer.as_deref(), Some("/messages/0/role"));
        assert_eq!(error(1).code, ProblemCode::NoAssistantTurn);
        for shared in [2, 4] {
            assert_eq!(lines[shared].as_ref().unwrap_err().id.as_str(), "r");
            assert_eq!(error(shared).pointer.as_deref(), Some("/id"));
        }
        assert!(lines[3].is_ok());
    }
}
