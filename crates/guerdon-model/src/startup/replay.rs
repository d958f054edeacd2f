//! Replay of reference scores at load: the model must score a few dialogues as its own framework
//! does, alone and padded together.
//!
//! A foreign tokenizer, a wrong padding id, wrong positions or a cut vocabulary change rewards
//! without an error. The replay refuses such a model before it scores anything. It takes a bounded
//! time on any model: token ids of up to [`MAX_ENCODED`] rows are compared, and up to [`MAX_ROWS`]
//! rows are run within [`RUN_TIME`].

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use crate::encode::tokenize::{EncodedTurn, Encoder};
use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::Layout;
use crate::engine::head::RawScore;
use crate::engine::session::InferenceEngine;
use crate::load::reference::{ReferenceRow, ReferenceScores, ReferenceTolerance};
use crate::{Error, Manifest, ModelConfig};

/// Rows whose token ids are compared.
const MAX_ENCODED: usize = 256;

/// Rows that are run.
const MAX_ROWS: usize = 8;

/// The time for the runs one by one, and again for the runs together. A run that was started is
/// finished, and the first run always starts.
const RUN_TIME: Duration = Duration::from_secs(5);

/// The fault of a reference without scores, of a model whose arithmetic must be compared with them.
const NO_SCORES: &str = "has no row with a score, with which the arithmetic in 8 bits could be \
                         compared; write the model again with `guerdon rm init --precision int8`";

/// Characters of a token that an error shows.
const SHOWN: usize = 40;

/// The result of a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ReplaySummary {
    rows: usize,
    /// The largest difference in standard deviations.
    deviations: f64,
}

/// Compares the model with its reference scores, if its folder has them. `max_tokens` is the
/// manifest's own limit, which the configuration may override.
///
/// # Errors
///
/// Returns [`Error::Reference`] for a model that disagrees with them.
pub(crate) fn verify_reference(
    engine: &mut impl InferenceEngine,
    encoder: &Encoder,
    manifest: &Manifest,
    config: &ModelConfig,
    max_tokens: usize,
) -> Result<(), Error> {
    let Some(reference) = ReferenceScores::load(&config.path, manifest)? else {
        if let (Some(_), Some(stated)) = (manifest.precision, &manifest.reference) {
            return Err(Error::Reference {
                path: config.path.join(&stated.file),
                detail: NO_SCORES.to_owned(),
            });
        }
        tracing::info!(
            name = manifest.name,
            "the model has no reference scores, so its rewards are not compared with its \
             framework's; `guerdon rm init` and export_hf.py write reference.jsonl"
        );
        return Ok(());
    };
    let refused = |detail| Error::Reference { path: reference.path.clone(), detail };
    if manifest.precision.is_some() && reference.rows.iter().all(|row| row.score.is_none()) {
        return Err(refused(NO_SCORES.to_owned()));
    }
    let scores: Vec<f64> = reference.rows.iter().filter_map(|row| row.score).collect();
    let device = config.device.first();
    let tolerance = ReferenceTolerance::new(manifest.reference.as_ref(), &scores, device);
    let same_limit = encoder.max_tokens() == max_tokens;
    let rounding = tolerance.of_rounding(device);
    let replay = Replay { encoder, tolerance, rounding, same_limit, run_time: RUN_TIME };
    let replayed = replay.run(engine, &reference.rows).map_err(refused)?;
    let ReplaySummary { rows, deviations } = replayed;
    if !tolerance.is_stated && deviations > 1e-2 {
        tracing::warn!(
            name = manifest.name,
            "the model's scores are up to {deviations:.2e} standard deviations away from its \
             reference scores; export it again, and its manifest states the difference"
        );
    }
    tracing::info!(name = manifest.name, rows, "replayed reference scores");
    Ok(())
}

/// A row with its encoding.
struct EncodedRow<'a> {
    row: &'a ReferenceRow,
    tokens: TokenSequence,
}

struct Replay<'a> {
    encoder: &'a Encoder,
    tolerance: ReferenceTolerance,
    /// The tolerance for scores of the same graph.
    rounding: ReferenceTolerance,
    /// True if texts are cut to the length for which the reference was written.
    same_limit: bool,
    /// The time for the runs one by one, and again for the runs together.
    run_time: Duration,
}

impl Replay<'_> {
    fn run(
        &self,
        engine: &mut impl InferenceEngine,
        rows: &[ReferenceRow],
    ) -> Result<ReplaySummary, String> {
        for row in rows.iter().filter(|row| row.ids.is_some()).take(MAX_ENCODED) {
            self.encode(row)?;
        }
        let scored: Vec<&ReferenceRow> = rows.iter().filter(|row| row.score.is_some()).collect();
        let mut chosen = Vec::new();
        for row in most_telling(&scored) {
            chosen.extend(self.encode(row)?);
        }
        chosen.sort_by_key(|row: &EncodedRow<'_>| row.tokens.len());
        let mut clock = Clock::new(self.run_time);
        let mut worst: f64 = 0.0;
        let mut count = 0;
        for row in &chosen {
            let Some(scores) = clock.run(engine, &[&row.tokens])? else { break };
            worst = worst.max(self.compare(row, scores.first(), "alone")?);
            count += 1;
        }
        let mut together = &chosen[..count];
        clock.spent = Duration::ZERO;
        while together.len() > 1 && engine.layout() != Layout::EqualLengths {
            let batch: Vec<&TokenSequence> = together.iter().map(|row| &row.tokens).collect();
            if let Some(scores) = clock.run(engine, &batch)? {
                for (row, score) in together.iter().zip(scores) {
                    worst = worst.max(self.compare(row, Some(&score), "in a batch")?);
                }
                break;
            }
            together = &together[..together.len() - 1];
        }
        Ok(ReplaySummary { rows: count, deviations: worst })
    }

    /// Encodes the row and compares its ids. Returns `None` if another limit cuts it elsewhere.
    fn encode<'a>(&self, row: &'a ReferenceRow) -> Result<Option<EncodedRow<'a>>, String> {
        let line = row.line;
        let EncodedTurn { tokens, truncated, .. } =
            self.encoder
                .encode(&row.messages, row.index)
                .map_err(|error| format!("line {line} cannot be encoded: {error}"))?;
        if !self.same_limit && (truncated || row.truncated) {
            return Ok(None);
        }
        let read = |tokens| EncodedRow { row, tokens: self.encoder.read_tokens(tokens) };
        let Some(expected) = &row.ids else { return Ok(Some(read(tokens))) };
        let same = tokens.ids.iter().zip(expected).take_while(|(a, b)| a == b).count();
        if same == expected.len() && same == tokens.len() {
            return Ok(Some(read(tokens)));
        }
        let describe = |id: Option<&u32>| match id {
            None => "missing".to_owned(),
            Some(id) => {
                let token: String = self.encoder.token(*id).chars().take(SHOWN).collect();
                format!("{token:?} (id {id})")
            }
        };
        Err(format!(
            "line {line}: token {same} of the text is {} here, and {} in the reference; the \
             tokenizer, the chat template or the input format is not the one that the model was \
             trained with: restore them from the model's checkpoint, or export the model again. \
             Remove the file only if the change is intended",
            describe(tokens.ids.get(same)),
            describe(expected.get(same)),
        ))
    }

    /// The difference from the reference in standard deviations.
    fn compare(
        &self,
        EncodedRow { row, tokens }: &EncodedRow<'_>,
        score: Option<&RawScore>,
        run: &str,
    ) -> Result<f64, String> {
        let ReferenceRow { line, ids, .. } = row;
        let score = f64::from(score.map_or(f32::NAN, |score| score.value));
        let compared = [
            (row.score.unwrap_or(f64::NAN), "in the reference", self.tolerance),
            (row.graph_score.unwrap_or(score), "by the same graph in the reference", self.rounding),
        ];
        let apart = |expected: f64| (score - expected).abs();
        let wrong = compared.iter().find(|(expected, _, tolerance)| {
            // A score that is not a number is wrong, too.
            !matches!(
                apart(*expected).partial_cmp(&tolerance.allowed(*expected)),
                Some(Ordering::Less | Ordering::Equal)
            )
        });
        let Some((expected, place, tolerance)) = wrong else {
            return Ok(apart(compared[0].0) / self.tolerance.deviation);
        };
        let deviations = apart(*expected) / self.tolerance.deviation;
        let cause = match ids {
            Some(_) => "the token ids agree, so the graph",
            None => "the tokenizer, the graph",
        };
        Err(format!(
            "line {line}: a text of {} tokens scores {score} {run}, and {expected} {place}, \
             {deviations:.3} standard deviations away ({:.3} are allowed); {cause}, its \
             positions (`input.first_position`), its padding (`input.pad_token`) or its output is \
             not the model's: correct guerdon.model.toml, or export the model again. Remove the \
             file only if the change is intended",
            tokens.len(),
            tolerance.deviations,
        ))
    }
}

/// The rows that show the most faults: the shortest and the longest, the lowest and the highest
/// score, an empty reply, a text that was cut, emoji, and other scripts. Earlier rows are preferred.
fn most_telling<'a>(rows: &[&'a ReferenceRow]) -> Vec<&'a ReferenceRow> {
    let texts = |row: &'a ReferenceRow| {
        row.messages.iter().take(row.index + 1).map(|message| message.content.as_str())
    };
    let bytes = |row: &&&'a ReferenceRow| -> usize { texts(row).map(str::len).sum() };
    let has = |row: &'a ReferenceRow, wanted: fn(char) -> bool| {
        texts(row).any(|text| text.chars().any(wanted))
    };
    let by_score = |a: &&&ReferenceRow, b: &&&ReferenceRow| match (a.score, b.score) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    let all = || rows.iter();
    let found = [
        all().min_by_key(bytes),
        all().find(|row| has(row, |letter| letter > '\u{ffff}')),
        all().filter(|row| !row.truncated).max_by_key(bytes),
        all().min_by(by_score),
        all().max_by(by_score),
        all().find(|row| row.truncated),
        all().find(|row| row.messages[row.index].content.is_empty()),
        all().find(|row| has(row, |letter| ('\u{300}'..='\u{ffff}').contains(&letter))),
    ];
    let mut chosen: Vec<&ReferenceRow> = Vec::with_capacity(MAX_ROWS);
    for row in found.into_iter().flatten().chain(all()) {
        if chosen.len() == MAX_ROWS {
            break;
        }
        if chosen.iter().all(|other| other.line != row.line) {
            chosen.push(row);
        }
    }
    chosen
}

/// The time that runs have taken, by which a run is started or left out.
struct Clock {
    limit: Duration,
    spent: Duration,
    /// Time and tokens of the slowest run so far.
    slowest: Option<(Duration, usize)>,
}

impl Clock {
    const fn new(limit: Duration) -> Self {
        Self { limit, spent: Duration::ZERO, slowest: None }
    }

    /// Runs the batch, or returns `None` if it is not expected to end in time.
    fn run(
        &mut self,
        engine: &mut impl InferenceEngine,
        batch: &[&TokenSequence],
    ) -> Result<Option<Vec<RawScore>>, String> {
        let longest = batch.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        let tokens = longest * batch.len();
        if let Some((time, count)) = self.slowest {
            #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
            let expected = time.mul_f64(tokens as f64 / count.max(1) as f64);
            if self.spent + expected > self.limit {
                return Ok(None);
            }
        }
        let started = Instant::now();
        let scores = engine.run(batch).map_err(|error| format!("does not run: {error}"))?;
        let time = started.elapsed();
        self.spent += time;
        #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
        let slower = |(old, count): (Duration, usize)| {
            time.as_secs_f64() * count as f64 > old.as_secs_f64() * tokens as f64
        };
        if self.slowest.is_none_or(slower) {
            self.slowest = Some((time, tokens));
        }
        Ok(Some(scores))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::sharing::Sharing;

    /// An engine that scores each text by its number of tokens, slowly.
    struct SlowEngine {
        layout: Layout,
        time: Duration,
        runs: Vec<usize>,
    }

    impl InferenceEngine for SlowEngine {
        fn layout(&self) -> Layout {
            self.layout
        }

        fn run(&mut self, sequences: &[&TokenSequence]) -> Result<Vec<RawScore>, String> {
            std::thread::sleep(self.time);
            self.runs.push(sequences.len());
            #[expect(clippy::cast_precision_loss, reason = "short texts")]
            Ok(sequences.iter().map(|tokens| RawScore::from(tokens.len() as f32)).collect())
        }
    }

    /// The rows of the tiny model's reference, scored as `SlowEngine` does, `off` too high.
    fn replay(
        layout: Layout,
        time: Duration,
        run_time: Duration,
        off: f64,
    ) -> (Result<ReplaySummary, String>, Vec<usize>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny");
        let manifest = Manifest::load(&folder).unwrap();
        let encoder = Encoder::load(&folder, &manifest).unwrap();
        let mut rows = ReferenceScores::load(&folder, &manifest).unwrap().unwrap().rows;
        for row in &mut rows {
            #[expect(clippy::cast_precision_loss, reason = "short texts")]
            let tokens = row.ids.as_ref().unwrap().len() as f64;
            row.score = Some(tokens + off);
        }
        let tolerance = ReferenceTolerance { deviation: 1.0, deviations: 0.01, is_stated: true };
        let rounding = tolerance.of_rounding(crate::Device::Cpu);
        let replay = Replay { encoder: &encoder, tolerance, rounding, same_limit: true, run_time };
        let mut engine = SlowEngine { layout, time, runs: Vec::new() };
        (replay.run(&mut engine, &rows), engine.runs)
    }

    #[test]
    fn rows_run_one_by_one_and_together_unless_they_cannot_be_padded() {
        let (replayed, runs) = replay(Layout::Padded, Duration::ZERO, RUN_TIME, 0.0);
        let rows = replayed.unwrap().rows;
        assert!(rows > 2 && runs.len() == rows + 1 && runs[rows] == rows, "{runs:?}");
        let packed = Layout::Packed(Sharing::Prefixes);
        assert_eq!(replay(packed, Duration::ZERO, RUN_TIME, 0.0).1, runs);
        let (_, runs) = replay(Layout::EqualLengths, Duration::ZERO, RUN_TIME, 0.0);
        assert_eq!(runs, vec![1; rows]);
    }

    #[test]
    fn slow_model_is_compared_on_the_shortest_row_only() {
        let (replayed, runs) =
            replay(Layout::Padded, Duration::from_millis(20), Duration::from_millis(30), 0.0);
        assert_eq!((replayed.unwrap().rows, runs), (1, vec![1]));
    }

    #[test]
    fn difference_beyond_the_tolerance_is_named_with_line_and_size() {
        let (replayed, _) = replay(Layout::Padded, Duration::ZERO, RUN_TIME, 0.5);
        let error = replayed.unwrap_err();
        assert!(error.contains("0.500 standard deviations away (0.010 are allowed)"), "{error}");
        assert!(error.starts_with("line ") && error.contains("the token ids agree"), "{error}");
        assert!(replay(Layout::Padded, Duration::ZERO, RUN_TIME, 0.009).0.is_ok());
    }

    #[test]
    fn score_of_the_same_graph_may_differ_by_rounding_only() {
        let tolerance = ReferenceTolerance { deviation: 2.0, deviations: 0.3, is_stated: true };
        let rounding = tolerance.of_rounding(crate::Device::Cpu);
        assert!((rounding.allowed(0.0) - 2e-3).abs() < 1e-12, "{rounding:?}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/e5-hh");
        let manifest = Manifest::load(&folder).unwrap();
        let encoder = Encoder::load(&folder, &manifest).unwrap();
        let row = ReferenceScores::load(&folder, &manifest).unwrap().unwrap().rows.swap_remove(0);
        let replay =
            Replay { encoder: &encoder, tolerance, rounding, same_limit: true, run_time: RUN_TIME };
        let compared = |score: f64, graph_score: f64| {
            let row =
                ReferenceRow { score: Some(score), graph_score: Some(graph_score), ..row.clone() };
            let encoded = EncodedRow { row: &row, tokens: TokenSequence::unmarked([1]) };
            replay.compare(&encoded, Some(&1.0.into()), "alone")
        };
        assert!(compared(1.5, 1.0015).is_ok());
        assert!(compared(1.0, 1.0025).unwrap_err().contains("by the same graph in the reference"));
        assert!(compared(1.7, 1.0).unwrap_err().contains("1.7 in the reference"));
        assert!(compared(1.0, f64::NAN).is_err() && compared(f64::NAN, 1.0).is_err());
    }

    proptest! {
        /// The chosen rows are distinct and hold the extremes of length and score.
        #[test]
        fn most_telling_rows_hold_the_extremes(
            drawn in prop::collection::vec(("[a\u{1f642}中]{0,12}", -9.0..9.0_f64, any::<bool>()), 1..40)
        ) {
            let rows: Vec<ReferenceRow> = drawn
                .iter()
                .enumerate()
                .map(|(line, (text, score, truncated))| ReferenceRow {
                    line,
                    messages: vec![guerdon_types::Message::new(guerdon_types::Role::User, text)],
                    index: 0,
                    ids: None,
                    truncated: *truncated,
                    score: Some(*score),
                    graph_score: None,
                })
                .collect();
            let chosen = most_telling(&rows.iter().collect::<Vec<_>>());
            prop_assert_eq!(chosen.len(), rows.len().min(MAX_ROWS));
            let mut lines: Vec<usize> = chosen.iter().map(|row| row.line).collect();
            lines.sort_unstable();
            lines.dedup();
            prop_assert_eq!(lines.len(), chosen.len());
            let highest = rows.iter().filter_map(|row| row.score).fold(f64::MIN, f64::max);
            prop_assert!(chosen.iter().any(|row| row.score == Some(highest)));
            let emoji = |row: &&ReferenceRow| row.messages[0].content.contains('\u{1f642}');
            prop_assert_eq!(chosen.iter().any(emoji), rows.iter().any(|row| emoji(&row)));
        }
    }
}
