//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) with gradient clipping. candle-nn's AdamW can
//! neither clip gradients nor save its moments, without which a resumed run would differ.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::weights::WeightSet;

/// The settings of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the first and the second moment per step.
    pub betas: [f64; 2],
    /// Weight decay per step, multiplied by the rate.
    pub decay: f64,
    /// Maximum Euclidean norm of the gradient over all parameters; a longer one is scaled down.
    pub norm: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { rate: 1e-3, betas: [0.9, 0.99], decay: 0.0, norm: 1.0 }
    }
}

/// The optimizer with its moments.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    steps: u32,
    moments: WeightSet,
}

impl Adam {
    /// An optimizer of these weights.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn new(config: AdamConfig, weights: &WeightSet) -> candle_core::Result<Self> {
        let mut moments = WeightSet::default();
        for (name, var) in weights.iter() {
            for moment in ["first", "second"] {
                moments.fill(format!("{moment}.{name}"), var.dims(), 0.0)?;
            }
        }
        Ok(Self { config, steps: 0, moments })
    }

    /// Restores saved moments after `steps` steps.
    ///
    /// # Errors
    /// A missing moment.
    pub fn resume(
        config: AdamConfig,
        weights: &WeightSet,
        steps: u32,
        moments: WeightSet,
    ) -> anyhow::Result<Self> {
        for (name, var) in weights.iter() {
            for moment in ["first", "second"] {
                let shape = moments.get(&format!("{moment}.{name}"))?.dims();
                ensure!(shape == var.dims(), "moment `{moment}.{name}` has the shape {shape:?}");
            }
        }
        Ok(Self { config, steps, moments })
    }

    /// The moments, for saving, and the number of steps made.
    #[must_use]
    pub const fn memory(&self) -> (&WeightSet, u32) {
        (&self.moments, self.steps)
    }

    /// Sets the learning rate.
    pub const fn set_rate(&mut self, rate: f64) {
        self.config.rate = rate;
    }

    /// Updates every weight; returns the norm of the gradient before clipping.
    ///
    /// # Errors
    /// A weight without a gradient: an operation in the graph has no backward pass.
    pub fn step(&mut self, weights: &WeightSet, gradients: &GradStore) -> anyhow::Result<f64> {
        let found: BTreeMap<&str, (&Var, &Tensor)> = weights
            .iter()
            .map(|(name, var)| {
                let gradient = gradients.get(var.as_tensor());
                Ok((
                    name,
                    (var, gradient.with_context(|| format!("no gradient reached `{name}`"))?),
                ))
            })
            .collect::<anyhow::Result<_>>()?;
        let mut square = 0.0;
        for (_, gradient) in found.values() {
            square += f64::from(
                gradient.sqr()?.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?,
            );
        }
        let norm = square.sqrt();
        ensure!(norm.is_finite(), "the gradient is not finite; lower the learning rate");
        let scale = (self.config.norm / norm.max(1e-12)).min(1.0);

        self.steps += 1;
        let AdamConfig { rate, betas: [b1, b2], decay, .. } = self.config;
        let unbias = |beta: f64| 1.0 / (1.0 - beta.powf(f64::from(self.steps)));
        for (name, (var, gradient)) in found {
            let first = self.moments.var(&format!("first.{name}"))?;
            let second = self.moments.var(&format!("second.{name}"))?;
            let gradient = (gradient * scale)?;
            first.set(&((first.as_tensor() * b1)? + (&gradient * (1.0 - b1))?)?)?;
            second.set(&((second.as_tensor() * b2)? + (gradient.sqr()? * (1.0 - b2))?)?)?;
            let deviation = ((second.as_tensor() * unbias(b2))?.sqrt()? + 1e-8)?;
            let step = ((first.as_tensor() * (rate * unbias(b1)))? / deviation)?;
            var.set(&((var.as_detached_tensor() * (1.0 - rate * decay))? - step)?)?;
        }
        Ok(norm)
    }
}
