//! NumPy arrays in and out. An input is borrowed if it is C-contiguous and of the batch's number
//! type, and copied otherwise; an output is moved into NumPy. Shapes are checked here, because the
//! optimizer takes flat slices and could not detect a transposed array.

use guerdon_client::optim::{Float, OptimError, RowMask};
use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::{Bound, FromPyObject, PyAny, PyAnyMethods, PyResult, Python};
use pyo3::types::{IntoPyDict, PyDict};

use crate::errors::{input_error, optim_error};

/// A Python object that is read as an array.
pub(crate) type Array<'py> = Bound<'py, PyAny>;

/// The optimizer's number types, which are NumPy dtypes too.
pub(crate) trait NumpyFloat: Float + Element {
    /// The name of the dtype.
    const NAME: &'static str;
}

impl NumpyFloat for f32 {
    const NAME: &'static str = "float32";
}

impl NumpyFloat for f64 {
    const NAME: &'static str = "float64";
}

/// Calls a generic function with the number type of an array: `f32` for `float32`, `f64` for any
/// other dtype.
macro_rules! in_type_of {
    ($array:expr, $function:ident($($argument:expr),* $(,)?)) => {
        if $crate::arrays::is_single($array)? {
            $function::<f32>($($argument),*)
        } else {
            $function::<f64>($($argument),*)
        }
    };
}
pub(crate) use in_type_of;

/// Returns true if `value` is an array of `float32`.
pub(crate) fn is_single(value: &Array<'_>) -> PyResult<bool> {
    let array = as_array(value)?;
    let dtype = array.cast::<PyUntypedArray>()?.dtype();
    match (dtype.kind(), dtype.itemsize()) {
        (b'f', 4) => Ok(true),
        (b'f', 8) | (b'i' | b'u' | b'b' | b'O', _) => Ok(false),
        _ => Err(input_error(format!(
            "unsupported array type {dtype}; pass float32 or float64, as with `x.astype(numpy.float32)`"
        ))),
    }
}

fn as_array<'py>(value: &Array<'py>) -> PyResult<Array<'py>> {
    value.py().import("numpy")?.call_method1("asarray", (value,))
}

/// An input array, C-contiguous and in the batch's number type.
pub(crate) struct InputArray<'py, F: NumpyFloat>(PyReadonlyArrayDyn<'py, F>);

impl<'py, F: NumpyFloat> InputArray<'py, F> {
    /// Reads `value` (borrowed or copied) and checks its shape.
    pub(crate) fn read(value: &Array<'py>, name: &str, shape: &[usize]) -> PyResult<Self> {
        let numbers = Self::of_any_shape(value, name)?;
        let got = numbers.0.shape();
        if got == shape {
            Ok(numbers)
        } else {
            Err(input_error(format!("{name} has shape {got:?}, expected {shape:?}")))
        }
    }

    /// Reads `value` unless it is `None`.
    pub(crate) fn optional(
        value: Option<&Array<'py>>,
        name: &str,
        shape: &[usize],
    ) -> PyResult<Option<Self>> {
        value
            .filter(|value| !value.is_none())
            .map(|value| Self::read(value, name, shape))
            .transpose()
    }

    /// Reads the array that defines the batch's shape `[B, T]` (or `[N, V]`).
    pub(crate) fn table(value: &Array<'py>, name: &str) -> PyResult<(Self, [usize; 2])> {
        let numbers = Self::of_any_shape(value, name)?;
        match *numbers.0.shape() {
            [rows, width] => Ok((numbers, [rows, width])),
            ref got => Err(input_error(format!(
                "{name} has shape {got:?}, expected two dimensions, rows and tokens"
            ))),
        }
    }

    /// Reads the array that defines the batch's number of rows, `[B]`.
    pub(crate) fn column(value: &Array<'py>, name: &str) -> PyResult<(Self, usize)> {
        let numbers = Self::of_any_shape(value, name)?;
        match *numbers.0.shape() {
            [rows] => Ok((numbers, rows)),
            ref got => Err(input_error(format!(
                "{name} has shape {got:?}, expected one dimension, one number per rollout"
            ))),
        }
    }

    fn of_any_shape(value: &Array<'py>, name: &str) -> PyResult<Self> {
        if let Ok(array) = value.cast::<PyUntypedArray>() {
            let dtype = array.dtype();
            // A silent conversion would hide that a part of the loop uses the wrong dtype. Lists
            // have no dtype and fit both.
            if dtype.kind() == b'f' && !dtype.is_equiv_to(&F::get_dtype(value.py())) {
                let want = F::NAME;
                let fix = format!("use one type for both, as with `{name}.astype(numpy.{want})`");
                let found =
                    format!("{name} is {dtype}, but the first array of this call is {want}");
                return Err(input_error(format!("{found}; {fix}")));
            }
        }
        let keywords = [("dtype", F::NAME)].into_py_dict(value.py())?;
        let numpy = value.py().import("numpy")?;
        let array = numpy.call_method("ascontiguousarray", (value,), Some(&keywords))?;
        Ok(Self(array.extract()?))
    }

    /// The numbers, row-major.
    pub(crate) fn slice(&self) -> PyResult<&[F]> {
        Ok(self.0.as_slice()?)
    }
}

/// The slice of an optional input.
pub(crate) fn optional_slice<'a, F: NumpyFloat>(
    numbers: &'a Option<InputArray<'_, F>>,
) -> PyResult<Option<&'a [F]>> {
    numbers.as_ref().map(InputArray::slice).transpose()
}

/// The valid slots of a batch, read from Python.
pub(crate) struct Mask<'py> {
    rows: usize,
    width: usize,
    source: MaskSource<'py>,
}

enum MaskSource<'py> {
    Full,
    Lens(Vec<usize>),
    /// Flags of rows that are padded on the right only, as their lengths: the kernels then need not
    /// look for the ends of spans in the flags.
    Prefix {
        lens: Vec<usize>,
        width: usize,
    },
    Bytes(PyReadonlyArrayDyn<'py, u8>),
}

impl<'py> MaskSource<'py> {
    fn of_flags(flags: PyReadonlyArrayDyn<'py, u8>) -> PyResult<Self> {
        if let [rows, width] = *flags.shape() {
            let bytes = flags.as_slice()?;
            let row = |row: usize| prefix(&bytes[row * width..][..width]);
            if let Some(lens) = (0..rows).map(row).collect() {
                return Ok(Self::Prefix { lens, width });
            }
        }
        Ok(Self::Bytes(flags))
    }
}

/// The length of a row whose flags are set up to there and not beyond; `None` for other rows.
fn prefix(flags: &[u8]) -> Option<usize> {
    let len = flags.iter().filter(|&&flag| flag != 0).count();
    flags[..len].iter().fold(true, |set, &flag| set & (flag != 0)).then_some(len)
}

impl<'py> Mask<'py> {
    /// Reads `None` (no padding), lengths `[B]` or flags `[B, T]` for a batch of `[rows, width]`.
    pub(crate) fn read(value: &Array<'py>, [rows, width]: [usize; 2]) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self { rows, width, source: MaskSource::Full });
        }
        let array = as_array(value)?;
        let mask = match array.cast::<PyUntypedArray>()?.ndim() {
            1 => Self { rows, width, source: MaskSource::Lens(lengths(&array)?) },
            _ => Self { rows, width, source: MaskSource::of_flags(bytes(&array)?)? },
        };
        let (got, want) = match &mask.source {
            MaskSource::Bytes(flags) => (flags.shape().to_vec(), vec![rows, width]),
            MaskSource::Prefix { lens, width: w } => (vec![lens.len(), *w], vec![rows, width]),
            MaskSource::Lens(lens) => (vec![lens.len()], vec![rows]),
            MaskSource::Full => return Ok(mask),
        };
        if got == want {
            Ok(mask)
        } else {
            Err(input_error(format!(
                "mask has shape {got:?}, expected {want:?}: flags, or one length per row"
            )))
        }
    }

    /// Reads flags that define the batch's shape.
    pub(crate) fn table(value: &Array<'py>) -> PyResult<Self> {
        let flags = bytes(&as_array(value)?)?;
        match *flags.shape() {
            [rows, width] => Ok(Self { rows, width, source: MaskSource::of_flags(flags)? }),
            ref got => Err(input_error(format!(
                "mask has shape {got:?}, expected two dimensions, rows and tokens"
            ))),
        }
    }

    /// The shape `[B, T]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// The mask as an input of the optimizer.
    pub(crate) fn rows(&self) -> PyResult<RowMask<'_>> {
        match &self.source {
            MaskSource::Full => Ok(RowMask::full(self.rows, self.width)),
            MaskSource::Lens(lens) | MaskSource::Prefix { lens, .. } => {
                RowMask::lens(lens, self.width).map_err(|error| optim_error(&error))
            }
            MaskSource::Bytes(flags) => RowMask::bytes(flags.as_slice()?, self.rows, self.width)
                .map_err(|error| optim_error(&error)),
        }
    }
}

/// Reads whole numbers, 0 or more.
pub(crate) fn lengths(array: &Array<'_>) -> PyResult<Vec<usize>> {
    array
        .extract()
        .map_err(|error| input_error(format!("lengths must be whole numbers, 0 or more: {error}")))
}

/// Reads flags as bytes: a boolean array is reinterpreted, any other is compared with 0 first.
fn bytes<'py>(array: &Array<'py>) -> PyResult<PyReadonlyArrayDyn<'py, u8>> {
    let kind = array.cast::<PyUntypedArray>()?.dtype().kind();
    let numpy = array.py().import("numpy")?;
    if kind == b'f' && numpy.call_method1("isnan", (array,))?.call_method0("any")?.is_truthy()? {
        return Err(input_error("mask has NaN; give flags, 1 for a token and 0 for padding"));
    }
    let flags =
        if kind == b'b' { array.clone() } else { numpy.call_method1("not_equal", (array, 0))? };
    numpy.call_method1("ascontiguousarray", (flags,))?.call_method1("view", ("uint8",))?.extract()
}

/// Runs `work` with the interpreter's lock released.
pub(crate) fn compute<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, OptimError> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| optim_error(&error))
}

/// Moves numbers into a NumPy array of this shape.
pub(crate) fn table<'py, F: NumpyFloat>(
    py: Python<'py>,
    numbers: Vec<F>,
    shape: [usize; 2],
) -> PyResult<Array<'py>> {
    Ok(PyArray1::from_vec(py, numbers).reshape(shape)?.into_any())
}

/// Moves one number per rollout into a NumPy array; NaN if there is none.
pub(crate) fn column<'py, F: NumpyFloat>(
    py: Python<'py>,
    numbers: &[Option<f64>],
) -> PyResult<Array<'py>> {
    let number = |number: &Option<f64>| {
        let Some(number) = *number else { return Ok(F::from_f64(f64::NAN)) };
        let rounded = F::from_f64(number);
        let overflow = OptimError::Overflow { what: "advantages" };
        if rounded.is_finite() { Ok(rounded) } else { Err(optim_error(&overflow)) }
    };
    let numbers = numbers.iter().map(number).collect::<PyResult<Vec<F>>>()?;
    Ok(PyArray1::from_vec(py, numbers).into_any())
}

/// Moves one flag per rollout into a NumPy array.
pub(crate) fn flags<'py>(py: Python<'py>, flags: impl Iterator<Item = bool>) -> Array<'py> {
    PyArray1::from_vec(py, flags.collect()).into_any()
}

/// Reads one number or flag per rollout.
pub(crate) fn rollout_numbers<'py, T>(
    value: &Array<'py>,
    name: &str,
    rows: usize,
) -> PyResult<Vec<T>>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let numbers: Vec<T> = as_array(value)?.call_method0("tolist")?.extract().map_err(|_| {
        input_error(format!("{name} must be one flag per rollout, an array [{rows}] of booleans"))
    })?;
    if numbers.len() == rows {
        Ok(numbers)
    } else {
        Err(input_error(format!("{name} has {} elements, expected {rows}", numbers.len())))
    }
}

/// Converts one number per rollout to optional numbers; `None` for NaN.
pub(crate) fn scored<F: NumpyFloat>(numbers: &[F]) -> Vec<Option<f64>> {
    numbers.iter().map(|number| Some(number.to_f64()).filter(|number| !number.is_nan())).collect()
}

/// Converts names and numbers to a dictionary.
pub(crate) fn report<'py, const N: usize>(
    py: Python<'py>,
    figures: [(&str, f64); N],
) -> PyResult<Bound<'py, PyDict>> {
    figures.into_py_dict(py)
}
