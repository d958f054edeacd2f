//! Configuration of one reward model: device, batch sizes and queue.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::load::device::{Device, Devices};

/// Upper bound of `queue`. The slots are allocated when the model is loaded, about a hundred bytes
/// each.
const MAX_QUEUE: usize = 1 << 20;

/// Block sizes that ONNX Runtime accepts. Larger blocks leave more of the cache empty behind a
/// short text.
const BLOCK_SIZES: [usize; 6] = [16, 32, 64, 128, 256, 512];

/// The largest model by its files whose weights several sessions share.
const MAX_SHARED_FILES: u64 = 128 << 20;

/// Upper bound of the files together of copies that share no weights, unless `instances` is set.
const COPIES_BYTES: u64 = 2 << 30;

/// Configuration of one reward model. Everything but `path` has a default.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The model's folder, which holds `guerdon.model.toml`.
    pub path: PathBuf,
    /// `cpu`, `cuda` or `cuda:N`; `cuda:0,1` for several GPUs. Each GPU has a copy of the model and
    /// a device thread; all share the queue. An unusable CUDA device is an error: the model never
    /// falls back to the CPU.
    #[serde(default)]
    pub device: Devices,
    /// Sessions of the model on a CPU. Each has its own device thread, and all share the queue and
    /// the weights. Default: one per physical core, because small batches next to each other are
    /// faster than threads that share a batch, as long as the further sessions stay within 512 MiB.
    /// A model of more than 128 MiB in files has one session, because its weights are not shared. A
    /// GPU has one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Threads of one run on the CPU. Default: the physical cores divided among the sessions. If
    /// `instances` is not set either, the first session, which answers lone requests, uses all
    /// physical cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The ONNX Runtime library, or its folder. Default: `ORT_DYLIB_PATH`, next to the executable,
    /// `../lib/guerdon` from there, then `.guerdon/onnxruntime` in the current folder and its
    /// parents, then the search path of the system's loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
    /// Tokens of one batch that the device computes. Padding counts; shared tokens count once. A
    /// longer sequence is a batch of its own; sequences that share most of their tokens stay
    /// together up to 2,048. Default: 256 on a CPU, which fits its caches; on a GPU the smallest of
    /// 4,096 to 65,536 that a trial at load finds nearly as fast as the fastest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<usize>,
    /// Tokens per block of the cache of a model with paged attention: 16, 32, 64, 128, 256 or 512.
    /// Sequences share whole blocks. Default: the smallest block that CUDA's fused kernel reads,
    /// which is 128 for most models. Models without a cache refuse this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<usize>,
    /// Sequences in one batch. Default: 64 on a CPU, 512 on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<usize>,
    /// The longest time that an idle device waits for requests that are still being tokenized,
    /// while less than one batch is queued.
    ///
    /// A busy device does not wait, since the queue fills while it runs. A lone request does not
    /// wait either, because the device waits only while other requests are in flight; the latency
    /// of a quiet server is unaffected. The wait improves the first batches of a burst, which would
    /// otherwise hold one or two sequences each. Default: 2 ms. A slow model waits for a fiftieth
    /// of the time of its largest batch, if that is longer. "0s" disables the wait.
    #[serde(default = "defaults::max_wait", with = "humantime_serde")]
    pub max_wait: Duration,
    /// Turns that may be queued or running. While every slot is taken, new requests are refused
    /// with `Retry-After`; admitted turns wait until their deadline.
    #[serde(default = "defaults::queue")]
    pub queue: usize,
    /// Number of cached scores, so that equal tokens are not scored twice; 0 disables the cache.
    #[serde(default = "defaults::cache")]
    pub cache: usize,
    /// Overrides the manifest's `max_tokens`. The longest input is tried when the model is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

impl ModelConfig {
    /// A configuration of the model in the folder `path`, with every default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            device: Devices::default(),
            instances: None,
            threads: None,
            runtime: None,
            token_budget: None,
            block_size: None,
            max_batch: None,
            max_wait: defaults::max_wait(),
            queue: defaults::queue(),
            cache: defaults::cache(),
            max_tokens: None,
        }
    }

    /// The threads of each session, for a model of `model_bytes` bytes on `cores` physical cores.
    /// The result is not empty.
    pub(crate) fn session_threads(&self, model_bytes: u64, cores: usize) -> Vec<usize> {
        let cores = cores.max(1);
        let each = |instances: usize| self.threads.unwrap_or((cores / instances.max(1)).max(1));
        match (self.device.first(), self.instances, self.threads) {
            (Device::Cuda(_), ..) => {
                let gpus = self.device.all().len();
                vec![each(gpus); gpus]
            }
            (Device::Cpu, Some(instances), _) => vec![each(instances); instances.max(1)],
            (Device::Cpu, None, Some(threads)) => {
                let shared = model_bytes <= MAX_SHARED_FILES;
                let copies = usize::try_from(COPIES_BYTES / model_bytes.max(1));
                let fit = if shared { usize::MAX } else { copies.unwrap_or(usize::MAX) };
                vec![threads; (cores / threads.max(1)).min(fit).max(1)]
            }
            (Device::Cpu, None, None) if model_bytes > MAX_SHARED_FILES => vec![cores],
            (Device::Cpu, None, None) => {
                std::iter::once(cores).chain(std::iter::repeat_n(1, cores - 1)).collect()
            }
        }
    }

    /// The longest wait for in-flight requests, for a model whose largest batch takes
    /// `largest_batch_time`.
    pub(crate) fn burst_wait(&self, largest_batch_time: Duration) -> Duration {
        if self.max_wait.is_zero() {
            Duration::ZERO
        } else {
            self.max_wait.max(largest_batch_time / 50)
        }
    }

    /// `token_budget`, or the CPU's default; `None` on a GPU, where a trial finds it.
    #[must_use]
    pub fn batch_token_budget(&self) -> Option<usize> {
        self.token_budget.or(match self.device.first() {
            Device::Cpu => Some(256),
            Device::Cuda(_) => None,
        })
    }

    /// `max_batch`, or the device's default.
    #[must_use]
    pub fn max_batch_sequences(&self) -> usize {
        self.max_batch.unwrap_or(match self.device.first() {
            Device::Cpu => 64,
            Device::Cuda(_) => 512,
        })
    }

    /// Checks the ranges of the values.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Config`], which names the key.
    pub fn check(&self) -> Result<(), Error> {
        let positive = |key, value| match value {
            0 => Err(Error::Config { key, detail: "is 0; give it a positive number".to_owned() }),
            _ => Ok(()),
        };
        positive("token_budget", self.token_budget.unwrap_or(1))?;
        positive("max_batch", self.max_batch_sequences())?;
        positive("queue", self.queue)?;
        positive("threads", self.threads.unwrap_or(1))?;
        positive("instances", self.instances.unwrap_or(1))?;
        positive("max_tokens", self.max_tokens.unwrap_or(1))?;
        let on_gpus = self.device.first() != Device::Cpu;
        if let Some(instances) = self.instances.filter(|n| on_gpus && *n != self.device.all().len())
        {
            let detail =
                format!("is {instances} on {}, which runs one on each GPU; remove it", self.device);
            return Err(Error::Config { key: "instances", detail });
        }
        if self.queue > MAX_QUEUE {
            return Err(Error::Config {
                key: "queue",
                detail: format!("is {}; at most {MAX_QUEUE}", self.queue),
            });
        }
        if let Some(tokens) = self.block_size.filter(|tokens| !BLOCK_SIZES.contains(tokens)) {
            let detail = format!("is {tokens}; one of {BLOCK_SIZES:?}");
            return Err(Error::Config { key: "block_size", detail });
        }
        Ok(())
    }
}

mod defaults {
    use std::time::Duration;

    pub(super) const fn max_wait() -> Duration {
        Duration::from_millis(2)
    }

    pub(super) const fn queue() -> usize {
        16_384
    }

    pub(super) const fn cache() -> usize {
        65_536
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_path_is_required_and_defaults_match_new() {
        let config: ModelConfig = toml::from_str("path = \"models/m\"").unwrap();
        assert_eq!(config, ModelConfig::new("models/m"));
        config.check().unwrap();
    }

    #[test]
    fn slow_models_wait_longer_for_bursts_unless_the_wait_is_disabled() {
        let wait = |max_wait, largest| {
            let config =
                ModelConfig { max_wait: Duration::from_millis(max_wait), ..ModelConfig::new("m") };
            config.burst_wait(Duration::from_millis(largest)).as_millis()
        };
        assert_eq!(
            [wait(2, 50), wait(2, 5_000), wait(200, 5_000), wait(0, 5_000)],
            [2, 100, 200, 0]
        );
    }

    #[test]
    fn gpu_batches_default_to_larger_sizes() {
        let of = |text: &str| -> ModelConfig { toml::from_str(text).unwrap() };
        let sizes =
            |config: &ModelConfig| (config.batch_token_budget(), config.max_batch_sequences());
        assert_eq!(sizes(&of("path = \"m\"")), (Some(256), 64));
        assert_eq!(sizes(&of("path = \"m\"\ndevice = \"cuda\"")), (None, 512));
        assert_eq!(
            sizes(&of("path = \"m\"\ndevice = \"cuda\"\ntoken_budget = 9\nmax_batch = 2")),
            (Some(9), 2)
        );
    }

    #[test]
    fn small_models_get_a_session_per_core_and_large_ones_a_single_one() {
        let of = |text: &str, bytes| -> Vec<usize> {
            let config: ModelConfig = toml::from_str(&format!("path = \"m\"\n{text}")).unwrap();
            config.session_threads(bytes, 4)
        };
        let (small, large) = (10_000_000, 540_000_000);
        assert_eq!([of("", small), of("", large)], [vec![4, 1, 1, 1], vec![4]]);
        assert_eq!([of("threads = 2", small), of("threads = 16", small)], [vec![2, 2], vec![16]]);
        assert_eq!([of("threads = 1", large), of("threads = 1", 9 * large)], [vec![1; 3], vec![1]]);
        assert_eq!([of("instances = 1", small), of("instances = 2", large)], [vec![4], vec![2, 2]]);
        assert_eq!([of("instances = 9", small)], [vec![1; 9]]);
        assert_eq!(
            [
                of("instances = 3\nthreads = 5", small),
                of("device = \"cuda\"", small),
                of("device = \"cuda:0,1\"", small)
            ],
            [vec![5; 3], vec![4], vec![2, 2]]
        );
        let several = ModelConfig {
            device: Device::Cuda(0).into(),
            instances: Some(2),
            ..ModelConfig::new("m")
        };
        assert!(several.check().unwrap_err().to_string().contains("`instances` is 2 on cuda:0"));
    }

    #[test]
    fn durations_and_devices_parse_and_round_trip() {
        let config: ModelConfig =
            toml::from_str("path = \"m\"\nmax_wait = \"250us\"\ndevice = \"cuda:3\"").unwrap();
        assert_eq!(
            (config.max_wait, config.device.clone()),
            (Duration::from_micros(250), Device::Cuda(3).into())
        );
        assert_eq!(
            toml::from_str::<ModelConfig>(&toml::to_string(&config).unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn zero_and_unknown_keys_are_refused_by_name() {
        let config = ModelConfig { token_budget: Some(0), ..ModelConfig::new("m") };
        assert!(config.check().unwrap_err().to_string().starts_with("`token_budget` is 0"));
        let block =
            |tokens| ModelConfig { block_size: Some(tokens), ..ModelConfig::new("m") }.check();
        assert!(block(128).is_ok() && block(512).is_ok());
        for tokens in [0, 8, 100, 1_024] {
            assert!(
                block(tokens)
                    .unwrap_err()
                    .to_string()
                    .contains("one of [16, 32, 64, 128, 256, 512]")
            );
        }
        assert!(toml::from_str::<ModelConfig>("path = \"m\"\nbatch = 3").is_err());
    }
}
