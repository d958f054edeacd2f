//! The values of an output tensor, of any floating-point type.

use half::{bf16, f16};
use ort::value::{DynValue, PrimitiveTensorElementType};

/// An output tensor of floating-point numbers.
#[derive(Debug, Clone)]
pub(crate) struct OutputTensor<'a> {
    pub(crate) shape: Vec<usize>,
    values: Values<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Float(&'a [f32]),
    Double(&'a [f64]),
    Half(&'a [f16]),
    Brain(&'a [bf16]),
}

impl<'a> OutputTensor<'a> {
    /// The tensor in `value`, the output `name`.
    pub(crate) fn of(value: &'a DynValue, name: &str) -> Result<Self, String> {
        use ort::value::TensorElementType as Kind;
        match value.dtype().tensor_type() {
            Some(Kind::Float32) => extract(value, Values::Float),
            Some(Kind::Float64) => extract(value, Values::Double),
            Some(Kind::Float16) => extract(value, Values::Half),
            Some(Kind::Bfloat16) => extract(value, Values::Brain),
            _ => Err(format!(
                "`{name}` is {}, not a tensor of floating-point numbers; name the output with the \
                 scores as `output.name`",
                value.dtype()
            )),
        }
    }

    /// The values of a tensor in memory.
    #[cfg(test)]
    pub(crate) const fn of_floats(shape: Vec<usize>, values: &'a [f32]) -> Self {
        Self { shape, values: Values::Float(values) }
    }

    /// The value at `index` in row-major order.
    #[expect(clippy::cast_possible_truncation, reason = "scores are single-precision numbers")]
    pub(crate) fn at(&self, index: usize) -> Option<f32> {
        match self.values {
            Values::Float(values) => values.get(index).copied(),
            Values::Double(values) => values.get(index).map(|value| *value as f32),
            Values::Half(values) => values.get(index).map(|value| value.to_f32()),
            Values::Brain(values) => values.get(index).map(|value| value.to_f32()),
        }
    }
}

fn extract<'a, T: PrimitiveTensorElementType + 'a>(
    value: &'a DynValue,
    wrap: impl FnOnce(&'a [T]) -> Values<'a>,
) -> Result<OutputTensor<'a>, String> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    Ok(OutputTensor { shape, values: wrap(values) })
}
