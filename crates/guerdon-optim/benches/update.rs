//! Benchmark of one update and its stages, on 1024 rollouts of up to 512 tokens in `f32`: on one
//! thread with every available instruction set, and on all threads. Two baselines measure memory
//! alone: the same arrays read and written with almost no arithmetic, each once, and once per
//! stage.
//!
//! `cargo bench -p guerdon-optim` prints the minimum and the median time in milliseconds. With
//! `-- --json` it prints them as JSON for `peer_verl.py`, which times verl on the same inputs in the
//! same run.

#![expect(clippy::print_stdout, reason = "a benchmark prints its measurements")]

use std::hint::black_box;
use std::time::Instant;

use guerdon_optim::{
    CriticConfig, GaeBatch, GaeConfig, InstructionSet, KlBatch, KlRewardConfig, OptimError,
    PolicyBatch, PolicyConfig, PpoConfig, Repo, RepoBatch, RepoConfig, RowMask, ValueBatch,
    ValueConfig, WhitenConfig, gae, policy_loss, token_rewards, value_loss, whiten,
};

#[path = "../tests/it/golden/inputs.rs"]
mod inputs;

const ROUNDS: usize = 300;

struct Batch {
    lens: Vec<usize>,
    width: usize,
    logp: Vec<f32>,
    old: Vec<f32>,
    reference: Vec<f32>,
    values: Vec<f32>,
    new_values: Vec<f32>,
    scores: Vec<f32>,
}

impl Batch {
    fn new() -> Self {
        let recipe = inputs::Recipe { seed: 22, rows: 1024, width: 512, min_len: 128 };
        Self {
            lens: recipe.lens(),
            width: recipe.width,
            logp: recipe.logp(),
            old: recipe.old(),
            reference: recipe.reference(),
            values: recipe.values(),
            new_values: recipe.new_values(),
            scores: recipe.scores(),
        }
    }

    fn mask(&self, set: InstructionSet) -> Result<RowMask<'_>, OptimError> {
        Ok(RowMask::lens(&self.lens, self.width)?.at_most(set))
    }

    fn update(&self, set: InstructionSet) -> Result<RepoBatch<'_, f32>, OptimError> {
        Ok(RepoBatch::new(self.mask(set)?, &self.logp, &self.old, &self.scores)
            .with_reference(&self.reference)
            .with_critic(&self.new_values, &self.values))
    }
}

/// The outputs of an update.
struct Out {
    rewards: Vec<f32>,
    advantages: Vec<f32>,
    returns: Vec<f32>,
    dlogp: Vec<f32>,
    dvalues: Vec<f32>,
}

impl Out {
    fn new(slots: usize) -> Self {
        let zeros = || vec![0.0; slots];
        Self {
            rewards: zeros(),
            advantages: zeros(),
            returns: zeros(),
            dlogp: zeros(),
            dvalues: zeros(),
        }
    }
}

/// The settings of verl.
fn policy() -> PolicyConfig {
    PpoConfig { dual_clip: Some(3.0), ..PpoConfig::default() }.into()
}

fn value() -> ValueConfig {
    ValueConfig { clip: Some(0.5), ..ValueConfig::default() }
}

fn repo() -> Result<Repo<f32>, OptimError> {
    let critic = Some(CriticConfig { loss: value(), ..CriticConfig::default() });
    Repo::new(RepoConfig { policy: policy(), critic, ..RepoConfig::paper() })
}

/// Runs the stages of an update, each over the whole batch.
fn stages(
    stages: &mut Stages,
    batch: &Batch,
    set: InstructionSet,
    out: &mut Out,
) -> Result<(), OptimError> {
    let mask = batch.mask(set)?;
    stages.time("token rewards", || {
        let kl = KlBatch::new(mask, &batch.old, &batch.reference);
        token_rewards(&KlRewardConfig::default(), &kl, &batch.scores, &mut out.rewards)
    })?;
    stages.time("gae", || {
        let gae_batch = GaeBatch::new(mask, &out.rewards, &batch.values);
        gae(&GaeConfig::default(), &gae_batch, &mut out.advantages, &mut out.returns)
    })?;
    stages.time("whiten", || whiten(&WhitenConfig::default(), &mask, &mut out.advantages))?;
    stages.time("policy loss", || {
        let losses = PolicyBatch::new(mask, &batch.logp, &batch.old, &out.advantages);
        policy_loss(&policy(), &losses, &mut out.dlogp)
    })?;
    stages.time("value loss", || {
        let values = ValueBatch::new(mask, &batch.new_values, &batch.values, &out.returns);
        value_loss(&value(), &values, &mut out.dvalues)
    })?;
    Ok(())
}

/// Reads or writes each array of an update once: a lower bound of the time of an update.
fn memory_once(batch: &Batch, out: &mut Out) {
    let reads = [&batch.logp, &batch.old, &batch.reference, &batch.values, &batch.new_values];
    touch(batch, reads, [&mut out.advantages, &mut out.returns, &mut out.dlogp, &mut out.dvalues]);
}

/// Reads and writes the arrays of an update as often as its stages do.
fn memory_of_stages(batch: &Batch, out: &mut Out) {
    touch(batch, [&batch.old, &batch.reference], [&mut out.rewards]);
    touch(batch, [&out.rewards, &batch.values], [&mut out.advantages, &mut out.returns]);
    touch(batch, [&out.advantages], []);
    for (row, &len) in batch.lens.iter().enumerate() {
        out.advantages[row * batch.width..][..len].iter_mut().for_each(|slot| *slot *= 0.5);
    }
    touch(batch, [&batch.logp, &batch.old, &out.advantages], [&mut out.dlogp]);
    touch(batch, [&batch.new_values, &batch.values, &out.returns], [&mut out.dvalues]);
}

/// Reads the tokens of all input slices, writes their sum to the outputs, and 0 to padding.
fn touch<const IN: usize, const OUT: usize>(
    batch: &Batch,
    reads: [&Vec<f32>; IN],
    mut writes: [&mut Vec<f32>; OUT],
) {
    const CHUNK: usize = 64;
    let mut sums = [0.0_f32; CHUNK];
    for (row, &len) in batch.lens.iter().enumerate() {
        let start = row * batch.width;
        for at in (0..len).step_by(CHUNK) {
            let tokens = CHUNK.min(len - at);
            let mut sum = [0.0_f32; CHUNK];
            for slice in reads {
                let slots = &slice[start + at..][..tokens];
                match slots.first_chunk::<CHUNK>() {
                    Some(slots) => sum.iter_mut().zip(slots).for_each(|(sum, x)| *sum += x),
                    None => sum.iter_mut().zip(slots).for_each(|(sum, x)| *sum += x),
                }
            }
            for slice in &mut writes {
                slice[start + at..][..tokens].copy_from_slice(&sum[..tokens]);
            }
            sums.iter_mut().zip(sum).for_each(|(sums, sum)| *sums += sum);
        }
        for slice in &mut writes {
            slice[start + len..start + batch.width].fill(0.0);
        }
    }
    black_box(sums);
}

/// Times per stage, in order of first appearance.
#[derive(Default)]
struct Stages(Vec<(&'static str, Vec<f64>)>);

/// A stage's name with its minimum and median time in milliseconds.
type Summary = (&'static str, f64, f64);

impl Stages {
    fn time<R>(&mut self, name: &'static str, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = black_box(work());
        self.add(name, start.elapsed().as_secs_f64() * 1e3);
        result
    }

    fn add(&mut self, name: &'static str, milliseconds: f64) {
        match self.0.iter_mut().find(|stage| stage.0 == name) {
            Some(stage) => stage.1.push(milliseconds),
            None => self.0.push((name, vec![milliseconds])),
        }
    }

    fn summaries(mut self) -> Vec<Summary> {
        self.0.iter_mut().for_each(|stage| stage.1.sort_by(f64::total_cmp));
        self.0.iter().map(|(name, times)| (*name, times[0], times[times.len() / 2])).collect()
    }
}

/// The times for one number of threads and one instruction set.
struct Run {
    threads: usize,
    set: InstructionSet,
    losses: [f64; 2],
    stages: Vec<Summary>,
}

impl Run {
    fn measure(
        threads: usize,
        set: InstructionSet,
        batch: &Batch,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let (mut out, mut times) = (Out::new(batch.lens.len() * batch.width), Stages::default());
        let (mut repo, mut losses) = (repo()?, [0.0; 2]);
        // Sequentially, because concurrent runs would evict each other from the cache.
        if threads == 1 {
            for _ in 0..ROUNDS {
                times.time("memory, once", || memory_once(batch, &mut out));
            }
            for _ in 0..ROUNDS {
                times.time("memory, by stage", || memory_of_stages(batch, &mut out));
            }
        }
        for _ in 0..ROUNDS {
            pool.install(|| stages(&mut times, batch, set, &mut out))?;
        }
        for _ in 0..ROUNDS {
            losses = pool.install(|| -> Result<_, OptimError> {
                let inputs = batch.update(set)?;
                let update =
                    times.time("update", || repo.step(&inputs).map(|update| update.metrics))?;
                Ok([update.policy.loss, update.value.loss])
            })?;
        }
        Ok(Self { threads, set, losses, stages: times.summaries() })
    }

    fn json(&self) -> serde_json::Value {
        let stages = self
            .stages
            .iter()
            .map(|&(name, least, median)| serde_json::json!([name, least, median]));
        serde_json::json!({
            "threads": self.threads,
            "set": self.set.name(),
            "losses": self.losses,
            "stages": stages.collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        let run = format!("{} thread(s), {}", self.threads, self.set);
        println!("\n{run:<24}{:>10}{:>10}", "least ms", "median");
        for (name, least, median) in &self.stages {
            println!("{name:<24}{least:>10.3}{median:>10.3}");
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = Batch::new();
    let mut runs = Vec::new();
    for &set in InstructionSet::ALL.iter().filter(|set| set.is_available()) {
        runs.push(Run::measure(1, set, &batch)?);
    }
    let all = std::thread::available_parallelism()?.get();
    if all > 1 {
        runs.push(Run::measure(all, InstructionSet::widest(), &batch)?);
    }
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::Value::from(runs.iter().map(Run::json).collect::<Vec<_>>()));
        return Ok(());
    }
    let tokens: usize = batch.lens.iter().sum();
    println!("{} rollouts, {tokens} tokens, f32, {ROUNDS} rounds", batch.lens.len());
    runs.iter().for_each(Run::print);
    Ok(())
}
