//! NumPy arrays in and out. An input is borrowed where it is C-contiguous and of the batch's number type, and
//! copied where it is not; an output is moved into NumPy. Shapes are checked here: the optimizer sees flat
//! slices, for which a transposed array would be as good as any.

use guerdon_client::optim::{Float, OptimError, RowMask};
use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::{Bound, PyAny, PyAnyMethods, PyResult, Python};
use pyo3::types::{IntoPyDict, PyDict};

use crate::errors::{refused, unfit};

/// The number types of the optimizer that NumPy has too.
pub(crate) trait Number: Float + Element {
    /// NumPy's name for it.
    const NAME: &'static str;
}

impl Number for f32 {
    const NAME: &'static str = "float32";
}

impl Number for f64 {
    const NAME: &'static str = "float64";
}

/// Calls a generic function in the number type of an array: `float32` for one of that, `float64` for anything
/// else.
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

/// Whether `value` is an array of `float32`.
pub(crate) fn is_single(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let array = as_array(value)?;
    let dtype = array.cast::<PyUntypedArray>()?.dtype();
    match (dtype.kind(), dtype.itemsize()) {
        (b'f', 4) => Ok(true),
        (b'f', 8) | (b'i' | b'u' | b'b' | b'O', _) => Ok(false),
        _ => Err(unfit(format!(
            "an array is {dtype}; give float32 or float64, as with `x.astype(numpy.float32)`"
        ))),
    }
}

fn as_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    value.py().import("numpy")?.call_method1("asarray", (value,))
}

/// An input, C-contiguous and in the batch's number type.
pub(crate) struct Numbers<'py, F: Number>(PyReadonlyArrayDyn<'py, F>);

impl<'py, F: Number> Numbers<'py, F> {
    /// Borrows `value`, or a copy of it, if it has this shape.
    pub(crate) fn read(value: &Bound<'py, PyAny>, name: &str, shape: &[usize]) -> PyResult<Self> {
        let numbers = Self::any(value, name)?;
        let got = numbers.0.shape();
        if got == shape {
            Ok(numbers)
        } else {
            Err(unfit(format!("{name} has shape {got:?}, expected {shape:?}")))
        }
    }

    /// The same where `value` may be `None`.
    pub(crate) fn optional(
        value: Option<&Bound<'py, PyAny>>,
        name: &str,
        shape: &[usize],
    ) -> PyResult<Option<Self>> {
        value
            .filter(|value| !value.is_none())
            .map(|value| Self::read(value, name, shape))
            .transpose()
    }

    /// The array that gives a batch its shape `[B, T]` (or `[N, V]`).
    pub(crate) fn table(value: &Bound<'py, PyAny>, name: &str) -> PyResult<(Self, [usize; 2])> {
        let numbers = Self::any(value, name)?;
        match *numbers.0.shape() {
            [rows, width] => Ok((numbers, [rows, width])),
            ref got => Err(unfit(format!(
                "{name} has shape {got:?}, expected two dimensions, rows and tokens"
            ))),
        }
    }

    /// An array that gives a batch its number of rows, `[B]`.
    pub(crate) fn column(value: &Bound<'py, PyAny>, name: &str) -> PyResult<(Self, usize)> {
        let numbers = Self::any(value, name)?;
        match *numbers.0.shape() {
            [rows] => Ok((numbers, rows)),
            ref got => Err(unfit(format!(
                "{name} has shape {got:?}, expected one dimension, a number a rollout"
            ))),
        }
    }

    fn any(value: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        if let Ok(array) = value.cast::<PyUntypedArray>() {
            let dtype = array.dtype();
            // A silent conversion would hide that half of a loop runs in the wrong type; lists have no type
            // to be wrong.
            if dtype.kind() == b'f' && !dtype.is_equiv_to(&F::get_dtype(value.py())) {
                let want = F::NAME;
                let fix = format!("give both the same type, as with `{name}.astype(numpy.{want})`");
                let found =
                    format!("{name} is {dtype}, but the first array of this call is {want}");
                return Err(unfit(format!("{found}; {fix}")));
            }
        }
        let like = [("dtype", F::NAME)].into_py_dict(value.py())?;
        let numpy = value.py().import("numpy")?;
        let array = numpy.call_method("ascontiguousarray", (value,), Some(&like))?;
        Ok(Self(array.extract()?))
    }

    /// The numbers, row-major.
    pub(crate) fn slice(&self) -> PyResult<&[F]> {
        Ok(self.0.as_slice()?)
    }
}

/// The slice of an optional input.
pub(crate) fn optional_slice<'a, F: Number>(
    numbers: &'a Option<Numbers<'_, F>>,
) -> PyResult<Option<&'a [F]>> {
    numbers.as_ref().map(Numbers::slice).transpose()
}

/// Which slots are tokens.
pub(crate) struct Mask<'py> {
    rows: usize,
    width: usize,
    kind: Kind<'py>,
}

enum Kind<'py> {
    Full,
    Lens(Vec<usize>),
    Bytes(PyReadonlyArrayDyn<'py, u8>),
}

impl<'py> Mask<'py> {
    /// Reads `None` (all tokens), lengths `[B]`, or flags `[B, T]` for a batch of `[rows, width]`.
    pub(crate) fn read(value: &Bound<'py, PyAny>, [rows, width]: [usize; 2]) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self { rows, width, kind: Kind::Full });
        }
        let array = as_array(value)?;
        let mask = match array.cast::<PyUntypedArray>()?.ndim() {
            1 => Self { rows, width, kind: Kind::Lens(lengths(&array)?) },
            _ => Self { rows, width, kind: Kind::Bytes(bytes(&array)?) },
        };
        let (got, want) = match &mask.kind {
            Kind::Bytes(flags) => (flags.shape().to_vec(), vec![rows, width]),
            Kind::Lens(lens) => (vec![lens.len()], vec![rows]),
            Kind::Full => return Ok(mask),
        };
        if got == want {
            Ok(mask)
        } else {
            Err(unfit(format!(
                "mask has shape {got:?}, expected {want:?}: flags, or one length a row"
            )))
        }
    }

    /// Reads flags that give a batch its shape.
    pub(crate) fn table(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let flags = bytes(&as_array(value)?)?;
        match *flags.shape() {
            [rows, width] => Ok(Self { rows, width, kind: Kind::Bytes(flags) }),
            ref got => Err(unfit(format!(
                "mask has shape {got:?}, expected two dimensions, rows and tokens"
            ))),
        }
    }

    /// `[B, T]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// The mask as the optimizer takes it.
    pub(crate) fn rows(&self) -> PyResult<RowMask<'_>> {
        match &self.kind {
            Kind::Full => Ok(RowMask::full(self.rows, self.width)),
            Kind::Lens(lens) => RowMask::lens(lens, self.width).map_err(|error| refused(&error)),
            Kind::Bytes(flags) => RowMask::bytes(flags.as_slice()?, self.rows, self.width)
                .map_err(|error| refused(&error)),
        }
    }
}

/// Whole numbers, 0 or more.
pub(crate) fn lengths(array: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    array
        .extract()
        .map_err(|error| unfit(format!("lengths must be whole numbers, 0 or more: {error}")))
}

/// Flags as bytes: a boolean array is looked at as it is, any other compared with 0 first.
fn bytes<'py>(array: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, u8>> {
    let kind = array.cast::<PyUntypedArray>()?.dtype().kind();
    let numpy = array.py().import("numpy")?;
    let flags =
        if kind == b'b' { array.clone() } else { numpy.call_method1("not_equal", (array, 0))? };
    numpy.call_method1("ascontiguousarray", (flags,))?.call_method1("view", ("uint8",))?.extract()
}

/// Runs `work` without the interpreter's lock.
pub(crate) fn compute<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, OptimError> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| refused(&error))
}

/// Moves numbers into a NumPy array of this shape.
pub(crate) fn table<'py, F: Number>(
    py: Python<'py>,
    numbers: Vec<F>,
    shape: [usize; 2],
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyArray1::from_vec(py, numbers).reshape(shape)?.into_any())
}

/// Moves one number a rollout into a NumPy array; NaN where there is none.
pub(crate) fn column<'py, F: Number>(
    py: Python<'py>,
    numbers: &[Option<f64>],
) -> Bound<'py, PyAny> {
    let number = |number: &Option<f64>| F::from_f64(number.unwrap_or(f64::NAN));
    PyArray1::from_vec(py, numbers.iter().map(number).collect()).into_any()
}

/// One number a rollout as the optimizer takes it: none where it is NaN.
pub(crate) fn scored<F: Number>(numbers: &[F]) -> Vec<Option<f64>> {
    numbers.iter().map(|number| Some(number.to_f64()).filter(|number| !number.is_nan())).collect()
}

/// Names and numbers as a dictionary.
pub(crate) fn report<'py, const N: usize>(
    py: Python<'py>,
    figures: [(&str, f64); N],
) -> PyResult<Bound<'py, PyDict>> {
    figures.into_py_dict(py)
}
