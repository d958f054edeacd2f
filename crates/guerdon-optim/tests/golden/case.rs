//! Reads a reference file: inputs and outputs by name, as flat slices, with their masks and tolerances.

use serde_json::Value;

/// One reference batch.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) mask: Vec<u8>,
    json: Value,
}

impl Case {
    pub(crate) fn read(name: &'static str, text: &str) -> Self {
        let json: Value = serde_json::from_str(text).unwrap();
        let mask = flat(&json["inputs"]["mask"]);
        let rows = json["inputs"]["mask"].as_array().unwrap().len();
        let width = mask.len() / rows;
        Self { name, rows, width, mask: mask.iter().map(|&valid| u8::from(valid > 0.5)).collect(), json }
    }

    /// Inputs are f32 numbers; rounding to them undoes the last-bit error of the JSON reader.
    pub(crate) fn input(&self, name: &str) -> Vec<f64> {
        flat(&self.json["inputs"][name]).into_iter().map(|x| f64::from(x as f32)).collect()
    }

    pub(crate) fn groups(&self) -> Vec<u64> {
        self.json["inputs"]["index"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
    }

    /// The output `op/field`; `None` where the trainer raised instead.
    pub(crate) fn try_output(&self, op: &str, field: &str) -> Option<Vec<f64>> {
        let output = &self.json["outputs"][op];
        assert!(output.is_object(), "{} has no output {op}", self.name);
        output.get("error64").is_none().then(|| flat(&output[field]))
    }

    pub(crate) fn output(&self, op: &str, field: &str) -> Vec<f64> {
        self.try_output(op, field).unwrap()
    }

    /// Asserts that `got` is the output `op/field` on every valid slot (or in every element, where it is not
    /// `[B, T]`), and 0 in padding; within `rtol` of the output's largest element plus 1e-9, because a sum of
    /// terms that cancel inherits the error of the terms.
    #[track_caller]
    pub(crate) fn expect(&self, got: &[f64], op: &str, field: &str, rtol: f64) {
        let want = self.output(op, field);
        assert_eq!(got.len(), want.len(), "{} {op} {field}", self.name);
        let per_slot = got.len() == self.mask.len();
        let limit = rtol * want.iter().fold(0.0_f64, |most, x| most.max(x.abs())) + 1e-9;
        for (at, (&got, &want)) in got.iter().zip(&want).enumerate() {
            let want = if per_slot && self.mask[at] == 0 { 0.0 } else { want };
            let close = (got - want).abs() <= limit;
            assert!(close, "{} {op} {field} at {at}: got {got}, want {want}", self.name);
        }
    }
}

/// The numbers of a scalar, a list or a list of lists; the string "nan" is NaN.
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        Value::String(text) => vec![text.parse().unwrap()],
        Value::Null => panic!("no such field"),
        number => vec![number.as_f64().unwrap()],
    }
}
