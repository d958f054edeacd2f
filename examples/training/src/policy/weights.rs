//! Named parameters: initialised, saved, loaded, and accessed as tensors.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;

/// Parameters, sorted by name, so that their order is the same on every machine.
#[derive(Debug, Clone, Default)]
pub struct WeightSet {
    vars: BTreeMap<String, Var>,
}

impl WeightSet {
    /// Adds a parameter drawn uniformly from `[-scale, scale]`, so that equal seeds give equal
    /// policies.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn draw(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        scale: f32,
        rng: &mut impl Rng,
    ) -> candle_core::Result<()> {
        let numbers: Vec<f32> =
            (0..shape.iter().product()).map(|_| rng.random_range(-1.0..=1.0_f32) * scale).collect();
        self.add(name, &Tensor::from_vec(numbers, shape, &Device::Cpu)?)
    }

    /// Adds a parameter filled with `value`.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn fill(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        value: f32,
    ) -> candle_core::Result<()> {
        self.add(name, &Tensor::full(value, shape, &Device::Cpu)?)
    }

    fn add(&mut self, name: impl Into<String>, tensor: &Tensor) -> candle_core::Result<()> {
        self.vars.insert(name.into(), Var::from_tensor(tensor)?);
        Ok(())
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be read or has other types than `f32` and `f64`.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let tensors = candle_core::safetensors::load(file, &Device::Cpu)
            .with_context(|| format!("cannot load {}", file.display()))?;
        let mut weights = Self::default();
        for (name, tensor) in tensors {
            ensure!(
                tensor.dtype().is_float(),
                "{}: `{name}` is not a float tensor",
                file.display()
            );
            weights.add(name, &tensor)?;
        }
        Ok(weights)
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let tensors: std::collections::HashMap<&str, Tensor> =
            self.vars.iter().map(|(name, var)| (name.as_str(), var.as_tensor().clone())).collect();
        let temporary = file.with_extension("part");
        candle_core::safetensors::save(&tensors, &temporary)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        crate::files::rename(&temporary, file)
    }

    /// A deep copy in another precision.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn copy(&self, dtype: DType) -> candle_core::Result<Self> {
        let mut copy = Self::default();
        for (name, var) in &self.vars {
            copy.add(name, &var.as_detached_tensor().to_dtype(dtype)?.copy()?)?;
        }
        Ok(copy)
    }

    /// The parameter `name`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn get(&self, name: &str) -> anyhow::Result<&Tensor> {
        Ok(self.var(name)?.as_tensor())
    }

    /// The variable `name`.
    ///
    /// # Errors
    /// An unknown name.
    pub(super) fn var(&self, name: &str) -> anyhow::Result<&Var> {
        self.vars.get(name).with_context(|| format!("the checkpoint has no parameter `{name}`"))
    }

    /// Names and variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The total number of scalars.
    #[must_use]
    pub fn count(&self) -> usize {
        self.vars.values().map(|var| var.elem_count()).sum()
    }
}
