//! The sessions of a model, loaded and warmed up: one per GPU, or several on a CPU.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::encode::tokenize::Encoder;
use crate::engine::batch_plan::BatchLimits;
use crate::engine::session::{InferenceEngine as _, OrtEngine, SessionConfig, shared_weights};
use crate::load::manifest::Manifest;
use crate::startup::labels::with_label_names;
use crate::startup::memory::resident_bytes;
use crate::startup::padding::{BatchMates, choose_batch_mates};
use crate::startup::warmup::{tuned_budget, warm_up};
use crate::{Device, Error, ModelConfig};

/// Bound on the memory of the further sessions of a model on a CPU, unless `instances` is set.
const FURTHER_SESSIONS_BYTES: u64 = 512 << 20;

/// Engines that are ready to run, with the batch limits.
#[derive(Debug)]
pub(crate) struct Instances {
    /// At least one; the fastest first.
    pub(crate) engines: Vec<OrtEngine>,
    pub(crate) limits: BatchLimits,
    /// Run time of the largest batch; on a CPU estimated from one text.
    pub(crate) largest_batch_time: Duration,
}

impl Instances {
    /// Loads the sessions. Enables reply marks in `encoder` if the model needs them.
    pub(crate) fn load(
        config: &ModelConfig,
        manifest: &Manifest,
        encoder: &mut Encoder,
    ) -> Result<Self, Error> {
        let path = config.path.join(&manifest.files.model);
        let refused = |detail| Error::Model { path: path.clone(), detail };
        let bytes = manifest.files.model_bytes(&config.path)?;
        let mut threads = config.session_threads(bytes, physical_cores());
        let on_cpu = config.device.first() == Device::Cpu;
        let head = encoder.head(&manifest.output).map_err(refused)?;
        let alone = SessionConfig {
            model: &path,
            head: &head,
            device: config.device.first(),
            threads: threads.first().copied().unwrap_or(1),
            runtime: config.runtime.as_deref(),
            weights: None,
            block_size: config.block_size,
            pad: encoder.pad(),
            first_position: manifest.input.first_position,
        };
        let weights = if on_cpu && threads.len() > 1 { shared_weights(&alone)? } else { None };
        if weights.is_none() && on_cpu && config.instances.is_none() && config.threads.is_none() {
            threads.truncate(1);
        }
        let session = SessionConfig { weights: weights.as_ref(), ..alone };
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
        let (pad, max_items) = match max_items {
            // A batch of one is never padded.
            1 => (session.pad, 1),
            _ => match choose_batch_mates(&mut first, encoder, session.device).map_err(refused)? {
                BatchMates::Padded(pad) => (Some(pad), max_items),
                BatchMates::Packed => (session.pad, max_items),
                BatchMates::EqualLengths => (None, max_items),
                BatchMates::Alone => (None, 1),
            },
        };
        let token_budget = match config.batch_token_budget() {
            Some(tokens) => tokens,
            None => tuned_budget(&mut first, encoder, max_items).map_err(refused)?,
        };
        let limits = BatchLimits::new(first.layout(), token_budget, max_items);
        let largest_batch_time =
            warm_up(&mut first, encoder, limits, session.device).map_err(refused)?;
        let load = |number: usize, threads: usize| {
            let all = config.device.all();
            let device = all.get(number).copied().unwrap_or(session.device);
            let mut engine = OrtEngine::load(&SessionConfig { device, pad, threads, ..session })?;
            warm_up(&mut engine, encoder, limits, device).map_err(refused)?;
            Ok(engine)
        };
        let mut engines = vec![first];
        if weights.is_some() {
            let before = resident_bytes();
            // One after another: each takes little time, since the graph is optimised already.
            while let Some(own) = threads.get(engines.len()) {
                engines.push(load(engines.len(), *own)?);
                if engines.len() == 2 && config.instances.is_none() {
                    let each =
                        resident_bytes().zip(before).map(|(now, then)| now.saturating_sub(then));
                    limit_sessions(&mut threads, each);
                }
            }
        } else if on_cpu {
            // In parallel: loading one after another takes long on a machine with many cores.
            let panicked = |_| Err(refused("panicked while loading".to_owned()));
            let others: Vec<Result<OrtEngine, Error>> = std::thread::scope(|scope| {
                let further = threads.iter().copied().enumerate().skip(1);
                let loading: Vec<_> =
                    further.map(|(number, own)| scope.spawn(move || load(number, own))).collect();
                loading
                    .into_iter()
                    .map(ScopedJoinHandle::join)
                    .map(|engine| engine.unwrap_or_else(panicked))
                    .collect()
            });
            for engine in others {
                engines.push(engine?);
            }
        } else {
            // One after another: sessions created on several GPUs at once can race (onnxruntime
            // issue 27089).
            for (number, own) in threads.iter().enumerate().skip(1) {
                engines.push(load(number, *own)?);
            }
        }
        let (name, layout, shared_weights) = (&manifest.name, limits.layout, weights.is_some());
        tracing::info!(
            name, %config.device, instances = engines.len(), ?threads, shared_weights, ?layout,
            token_budget, max_items, "loaded a reward model"
        );
        Ok(Self { engines, limits, largest_batch_time })
    }
}

/// Shortens the list of sessions so that all but the first take at most [`FURTHER_SESSIONS_BYTES`],
/// where one takes `each` bytes; keeps at least two. The sessions that are left have more threads.
fn limit_sessions(threads: &mut Vec<usize>, each: Option<u64>) {
    // A session takes some memory, even if the allocator had that left over.
    let each = each.unwrap_or_default().max(4 << 20);
    let fit = usize::try_from(FURTHER_SESSIONS_BYTES / each).unwrap_or(usize::MAX).max(1);
    let further = threads.len().saturating_sub(1);
    if further > fit {
        let total: usize = threads.iter().skip(1).sum();
        threads.truncate(1 + fit);
        threads.iter_mut().skip(1).for_each(|own| *own = (total / fit).max(1));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_beyond_the_memory_bound_become_threads() {
        let limited = |each| {
            let mut threads = [vec![64], vec![1; 63]].concat();
            limit_sessions(&mut threads, each);
            threads
        };
        assert_eq!(limited(Some(128 << 20)), [64, 15, 15, 15, 15]);
        assert_eq!(limited(Some(1 << 40)), [64, 63]);
        assert_eq!([limited(Some(0)).len(), limited(None).len()], [64, 64]);
        let mut lone = vec![2];
        limit_sessions(&mut lone, Some(1 << 40));
        assert_eq!(lone, [2]);
    }
}
