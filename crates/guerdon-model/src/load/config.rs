//! Which model to run, on what, and how large its batches and its queue may grow.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::load::device::{Device, Devices};

/// The queue's slots are allocated when the model is loaded, about a hundred bytes each.
const MOST_QUEUED: usize = 1 << 20;

/// What ONNX Runtime takes, and as much of a cache as a short text may leave empty.
const BLOCK_SIZES: [usize; 6] = [16, 32, 64, 128, 256, 512];

/// What the instances' files may take together before the default is fewer instances than cores.
const INSTANCES_BYTES: u64 = 2 << 30;

/// How to run one reward model. Everything but `path` has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The model's folder, which holds `guerdon.model.toml`.
    pub path: PathBuf,
    /// `cpu`, `cuda` or `cuda:N`; `cuda:0,1` for several GPUs, each with a copy of the model and a device thread, which share the
    /// queue. A CUDA device that cannot be used is an error, never the CPU in its place.
    #[serde(default)]
    pub device: Devices,
    /// Copies of the model on a CPU, each with a device thread of its own, which share the queue. Default: one per physical core
    /// as far as their files together stay within 2 GiB, since batches side by side are faster than threads that share a
    /// batch. (In memory, weights stored in 8 bits take four times their file.) Fewer copies answer a lone request sooner. A
    /// GPU has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Threads of one run on the CPU. Default: the physical cores, shared among the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The ONNX Runtime library, or its folder. Default: beside the executable, then `.guerdon/onnxruntime` in the
    /// current folder and its parents, then wherever the system's loader looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
    /// Tokens of one batch that the device computes: padding included, what is shared once. One sequence longer than this
    /// is a batch of its own; sequences that share most of their tokens stay together up to 2,048. Default: 256 on a CPU,
    /// whose caches hold no more; on a GPU the least of 4,096 to 65,536 that a trial at load finds nearly as fast as any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<usize>,
    /// Tokens of a block of the cache that a model with paged attention works in: 16, 32, 64, 128, 256 or 512. Sequences share whole
    /// blocks. Default: the least that CUDA's fused kernel reads, which is 128 for most models. Other models have no cache, and
    /// refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<usize>,
    /// Sequences in one batch. Default: 64 on a CPU, 512 on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<usize>,
    /// How long an idle device waits for requests that are still being tokenized, while less than one batch is queued.
    ///
    /// A device that is busy needs no such wait: the queue gathers while it runs. Nor does a lone request: it waits
    /// only while others are known to be on their way, so the latency of a quiet server is not touched. What the wait
    /// buys is the first batches of a burst, which would otherwise hold one or two sequences each. Default: 2 ms. A model that is
    /// slow waits for a fiftieth of the time that its largest batch takes, if that is longer; "0s" waits for nobody.
    #[serde(default = "defaults::max_wait", with = "humantime_serde")]
    pub max_wait: Duration,
    /// Turns that may be queued or running. While every place is taken new requests are refused with `Retry-After`; what
    /// was let in waits its turn until its deadline.
    #[serde(default = "defaults::queue")]
    pub queue: usize,
    /// Scores that are kept, so that the same tokens are not scored twice; 0 keeps none.
    #[serde(default = "defaults::cache")]
    pub cache: usize,
    /// Overrides the manifest's `max_tokens`. The longest input is tried when the model is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

impl ModelConfig {
    /// The model in the folder `path`, with every default.
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

    /// `instances` and `threads`, or what suits a model of so many bytes on a machine of so many physical cores.
    pub(crate) fn instances_and_threads(&self, model_bytes: u64, cores: usize) -> (usize, usize) {
        let cores = cores.max(1);
        let fit = usize::try_from(INSTANCES_BYTES / model_bytes.max(1)).unwrap_or(usize::MAX);
        let instances = match (self.device.first(), self.instances, self.threads) {
            (Device::Cuda(_), ..) => self.device.all().len(),
            (Device::Cpu, Some(instances), _) => instances,
            (Device::Cpu, None, threads) => (cores / threads.unwrap_or(1)).min(fit).max(1),
        };
        (instances, self.threads.unwrap_or((cores / instances).max(1)))
    }

    /// How long to wait for those who are coming, where the largest batch takes so long.
    pub(crate) fn wait_for_others(&self, largest_takes: Duration) -> Duration {
        if self.max_wait.is_zero() { Duration::ZERO } else { self.max_wait.max(largest_takes / 50) }
    }

    /// `token_budget`, or the CPU's default; `None` on a GPU, where it is found by trial.
    #[must_use]
    pub fn tokens_of_a_batch(&self) -> Option<usize> {
        self.token_budget.or(match self.device.first() {
            Device::Cpu => Some(256),
            Device::Cuda(_) => None,
        })
    }

    /// `max_batch`, or the device's default.
    #[must_use]
    pub fn sequences_of_a_batch(&self) -> usize {
        self.max_batch.unwrap_or(match self.device.first() {
            Device::Cpu => 64,
            Device::Cuda(_) => 512,
        })
    }

    /// Checks the laws that types do not keep.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn check(&self) -> Result<(), Error> {
        let positive = |key, value| match value {
            0 => Err(Error::Config { key, detail: "is 0; give it a positive number".to_owned() }),
            _ => Ok(()),
        };
        positive("token_budget", self.token_budget.unwrap_or(1))?;
        positive("max_batch", self.sequences_of_a_batch())?;
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
        if self.queue > MOST_QUEUED {
            return Err(Error::Config {
                key: "queue",
                detail: format!("is {}; at most {MOST_QUEUED}", self.queue),
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
    fn only_the_path_is_needed_and_the_defaults_are_those_of_new() {
        let config: ModelConfig = toml::from_str("path = \"models/m\"").unwrap();
        assert_eq!(config, ModelConfig::new("models/m"));
        config.check().unwrap();
    }

    #[test]
    fn a_slow_model_waits_a_little_longer_for_company_unless_it_is_told_not_to() {
        let wait = |max_wait, largest| {
            let config =
                ModelConfig { max_wait: Duration::from_millis(max_wait), ..ModelConfig::new("m") };
            config.wait_for_others(Duration::from_millis(largest)).as_millis()
        };
        assert_eq!(
            [wait(2, 50), wait(2, 5_000), wait(200, 5_000), wait(0, 5_000)],
            [2, 100, 200, 0]
        );
    }

    #[test]
    fn a_gpu_gets_larger_batches_unless_the_configuration_says_how_large() {
        let of = |text: &str| -> ModelConfig { toml::from_str(text).unwrap() };
        let sizes =
            |config: &ModelConfig| (config.tokens_of_a_batch(), config.sequences_of_a_batch());
        assert_eq!(sizes(&of("path = \"m\"")), (Some(256), 64));
        assert_eq!(sizes(&of("path = \"m\"\ndevice = \"cuda\"")), (None, 512));
        assert_eq!(
            sizes(&of("path = \"m\"\ndevice = \"cuda\"\ntoken_budget = 9\nmax_batch = 2")),
            (Some(9), 2)
        );
    }

    #[test]
    fn small_models_have_an_instance_a_core_and_large_ones_share_the_cores() {
        let of = |text: &str, bytes| -> (usize, usize) {
            let config: ModelConfig = toml::from_str(&format!("path = \"m\"\n{text}")).unwrap();
            config.instances_and_threads(bytes, 8)
        };
        let (small, large) = (10_000_000, 540_000_000);
        assert_eq!([of("", small), of("", large), of("", 9_000_000_000)], [(8, 1), (3, 2), (1, 8)]);
        assert_eq!([of("threads = 4", small), of("threads = 16", small)], [(2, 4), (1, 16)]);
        assert_eq!([of("instances = 1", small), of("instances = 20", small)], [(1, 8), (20, 1)]);
        assert_eq!(
            [
                of("instances = 3\nthreads = 5", small),
                of("device = \"cuda\"", small),
                of("device = \"cuda:0,1\"", small)
            ],
            [(3, 5), (1, 8), (2, 4)]
        );
        let several = ModelConfig {
            device: Device::Cuda(0).into(),
            instances: Some(2),
            ..ModelConfig::new("m")
        };
        assert!(several.check().unwrap_err().to_string().contains("`instances` is 2 on cuda:0"));
    }

    #[test]
    fn durations_carry_their_unit_and_devices_their_number() {
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
    fn zero_is_refused_by_name_and_so_is_an_unknown_key() {
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
