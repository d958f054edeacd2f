//! Reads a reference file: inputs and outputs by name, as flat slices, with their masks and
//! tolerances.

use guerdon_optim::{Float, RowMask};
use serde_json::Value;

/// One reference batch.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) mask: Vec<u8>,
    json: Value,
}

macro_rules! cases {
    ($($name:literal),+ $(,)?) => {
        vec![$(Case::read($name, include_str!(concat!("../../golden/", $name, ".json")))),+]
    };
}

/// The batches that are stored in full and have finite losses in the trainers.
pub(crate) fn all() -> Vec<Case> {
    cases![
        "basic",
        "extreme_ratio",
        "interior_mask",
        "masked_rows",
        "medium_16x32",
        "nan_in_padding_expected",
        "on_policy_ties",
        "one_valid_token",
        "single_token",
        "singleton_groups",
        "zero_std",
    ]
}

pub(crate) fn named(name: &str) -> Case {
    let mut cases = all();
    cases.extend(cases!["all_masked", "nan_in_padding", "neginf_logp"]);
    cases.into_iter().find(|case| case.name == name).unwrap()
}

impl Case {
    fn read(name: &'static str, text: &str) -> Self {
        let json: Value = serde_json::from_str(text).unwrap();
        let mask = flat(&json["inputs"]["mask"]);
        let rows = json["inputs"]["mask"].as_array().unwrap().len();
        let width = mask.len() / rows;
        Self {
            name,
            rows,
            width,
            mask: mask.iter().map(|&valid| u8::from(valid > 0.5)).collect(),
            json,
        }
    }

    pub(crate) fn mask(&self) -> RowMask<'_> {
        RowMask::bytes(&self.mask, self.rows, self.width).unwrap()
    }

    pub(crate) fn zeros<F: Float>(&self) -> Vec<F> {
        vec![F::ZERO; self.mask.len()]
    }

    /// Inputs are f32 numbers; rounding removes the last-bit error of the JSON parser.
    pub(crate) fn input<F: Float>(&self, name: &str) -> Vec<F> {
        flat(&self.json["inputs"][name])
            .into_iter()
            .map(|x| F::from_f64(f64::from(x as f32)))
            .collect()
    }

    /// A per-rollout input; `None` for rows without tokens.
    pub(crate) fn scored(&self, name: &str) -> Vec<Option<f64>> {
        let input = self.input::<f64>(name).into_iter().enumerate();
        input.map(|(row, x)| self.mask().last(row).map(|_| x)).collect()
    }

    pub(crate) fn groups(&self) -> Vec<u64> {
        self.json["inputs"]["index"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap())
            .collect()
    }

    /// The output `op/field`; `None` if it was not computed or the trainer raised.
    pub(crate) fn output(&self, op: &str, field: &str) -> Option<Vec<f64>> {
        self.json["outputs"][op].get(field).map(flat)
    }

    /// Asserts that `got` is the output `op/field` on every valid slot (or in every element, where
    /// it is not `[B, T]`), and 0 in padding. In `f64` within `rtol`, in `f32` within four times
    /// what the trainer itself loses in `f32`; both of the output's largest element, because a sum
    /// of terms that cancel inherits their error. Returns whether there was such an output.
    #[track_caller]
    pub(crate) fn expect<F: Float>(&self, got: &[F], op: &str, field: &str, rtol: f64) -> bool {
        let Some(want) = self.output(op, field) else { return false };
        assert_eq!(got.len(), want.len(), "{} {op} {field}", self.name);
        let per_slot = got.len() == self.mask.len();
        let largest = want.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        // A mean of numbers of order one is good to their last digits however small it is itself;
        // so is a sum.
        let terms = if op.ends_with("token-sum") { self.mask().tokens() as f64 } else { 1.0 };
        let scale = largest.max(if got.len() == 1 { 0.25 * terms } else { 1e-3 });
        let limit = if size_of::<F>() == 8 {
            rtol * scale + 1e-12
        } else {
            let lost = &self.json["outputs"][op][format!("{field}_err32")];
            4.0 * lost.as_f64().unwrap_or(0.0) + 4.0 * f64::from(f32::EPSILON) * scale
        };
        for (at, (&got, &want)) in got.iter().zip(&want).enumerate() {
            let want = if per_slot && self.mask[at] == 0 { 0.0 } else { want };
            let got = got.to_f64();
            let close = (got - want).abs() <= limit;
            assert!(
                close,
                "{} {op} {field} at {at}: got {got}, want {want}, limit {limit:e}",
                self.name
            );
        }
        true
    }
}

/// The numbers of a scalar, a list or a list of lists; the string "nan" is NaN.
pub(crate) fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        Value::String(text) => vec![text.parse().unwrap()],
        Value::Null => panic!("missing field"),
        number => vec![number.as_f64().unwrap()],
    }
}
