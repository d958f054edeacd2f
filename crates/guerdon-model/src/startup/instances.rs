//! The instances of a model, loaded and warmed up: one per GPU, or several on a CPU.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::encode::tokenize::Encoder;
use crate::engine::batch_plan::BatchLimits;
use crate::engine::session::{InferenceEngine as _, OrtEngine, SessionConfig};
use crate::load::manifest::Manifest;
use crate::startup::labels::with_label_names;
use crate::startup::padding::choose_padding;
use crate::startup::warmup::{tuned_budget, warm_up};
use crate::{Device, Error, ModelConfig};

/// Engines that are ready to run, each for a thread of its own, with the batch limits.
#[derive(Debug)]
pub(crate) struct Instances {
    pub(crate) engines: Vec<OrtEngine>,
    pub(crate) limits: BatchLimits,
    /// Run time of the largest batch.
    pub(crate) largest_batch_time: Duration,
}

impl Instances {
    /// Loads the instances. Enables reply marks in `encoder` if the model needs them.
    pub(crate) fn load(
        config: &ModelConfig,
        manifest: &Manifest,
        encoder: &mut Encoder,
    ) -> Result<Self, Error> {
        let path = config.path.join(&manifest.files.model);
        let refused = |detail| Error::Model { path: path.clone(), detail };
        let bytes = manifest.model_bytes(&config.path)?;
        let (instances, threads) = config.instances_and_threads(bytes, physical_cores());
        let head = encoder.head(&manifest.output).map_err(refused)?;
        let session = SessionConfig {
            model: &path,
            head: &head,
            device: config.device.first(),
            threads,
            runtime: config.runtime.as_deref(),
            block_size: config.block_size,
            pad: encoder.pad(),
            first_position: manifest.input.first_position,
        };
        let mut first = OrtEngine::load(&session)?;
        if first.needs_reply_mask() {
            encoder.mark_replies().map_err(refused)?;
        }
        let encoder = &*encoder;
        if let Some(most) = first.max_positions().filter(|most| encoder.max_tokens() > *most) {
            return Err(refused(format!(
                "was exported for texts of {most} tokens, and `max_tokens` is {}: lower it, or export with \
                 a larger `--max-tokens`",
                encoder.max_tokens()
            )));
        }
        let (short, long) = encoder.trial_texts().map_err(refused)?;
        let named = |detail| refused(with_label_names(detail, &config.path));
        first.check_head(&short, &long).map_err(named)?;
        let max_items = config.max_batch_sequences();
        let pad = match max_items {
            // A batch of one is never padded.
            1 => session.pad,
            _ => choose_padding(&mut first, encoder, session.device).map_err(refused)?,
        };
        let token_budget = match config.batch_token_budget() {
            Some(tokens) => tokens,
            None => tuned_budget(&mut first, encoder, max_items).map_err(refused)?,
        };
        let limits = BatchLimits::new(first.layout(), token_budget, max_items);
        let largest_batch_time = warm_up(&mut first, encoder, limits).map_err(refused)?;
        let load = |number: usize| {
            let all = config.device.all();
            let device = all.get(number).copied().unwrap_or(session.device);
            let mut engine = OrtEngine::load(&SessionConfig { device, pad, ..session })?;
            warm_up(&mut engine, encoder, limits).map_err(refused)?;
            Ok(engine)
        };
        let others: Vec<Result<OrtEngine, Error>> = match config.device.first() {
            // In parallel: loading one after another takes long on a machine with many cores.
            Device::Cpu => std::thread::scope(|scope| {
                let loading: Vec<_> =
                    (1..instances).map(|number| scope.spawn(move || load(number))).collect();
                let panicked = |_| Err(refused("panicked while loading".to_owned()));
                loading
                    .into_iter()
                    .map(ScopedJoinHandle::join)
                    .map(|engine| engine.unwrap_or_else(panicked))
                    .collect()
            }),
            // One after another: sessions created on several GPUs at once can race (onnxruntime
            // issue 27089).
            Device::Cuda(_) => (1..instances).map(load).collect(),
        };
        let engines = std::iter::once(Ok(first)).chain(others).collect::<Result<_, _>>()?;
        let name = &manifest.name;
        let layout = limits.layout;
        tracing::info!(
            name, %config.device, instances, threads, ?layout, token_budget, max_items,
            "loaded a reward model"
        );
        Ok(Self { engines, limits, largest_batch_time })
    }
}

/// The number of cores available to this process, within the limits of a container.
pub(crate) fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The approximate number of physical cores among them: two threads of one core share its
/// arithmetic units.
fn physical_cores() -> usize {
    num_cpus::get_physical().min(available_cores())
}
