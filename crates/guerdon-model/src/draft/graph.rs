//! Inputs, outputs and weights of an ONNX file, read without a session of ONNX Runtime.
//!
//! The messages hold the fields of `onnx.proto3` that are needed. The decoder skips the others,
//! such as the weights themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::Error;

/// Size of the largest accepted file. An ONNX file cannot exceed it; larger weights are in files of
/// their own.
const MAX_BYTES: u64 = 2 << 30;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct StringEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
}

/// An input or an output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphPort {
    pub(crate) name: String,
    /// The size of each dimension; `None` if it is free. Empty if the graph does not say.
    pub(crate) shape: Vec<Option<usize>>,
}

/// The parts of a graph that a manifest depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphSummary {
    pub(crate) inputs: Vec<GraphPort>,
    pub(crate) outputs: Vec<GraphPort>,
    /// The files with weights beside the graph, relative to its folder.
    pub(crate) data_files: Vec<PathBuf>,
    /// The narrowest type of the weights: `int8`, `fp16`, `bf16` or `fp32`.
    pub(crate) storage: &'static str,
}

impl GraphSummary {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let refused = |detail: String| Error::Model { path: path.to_owned(), detail };
        let bytes = path.metadata().map_err(failed)?.len();
        if bytes > MAX_BYTES {
            return Err(refused(format!("has {bytes} bytes, more than an ONNX file can have")));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a model's files are configuration: they are read by a command"
        )]
        let content = std::fs::read(path).map_err(failed)?;
        Self::parse(&content).map_err(refused)
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let not_onnx = |detail: String| {
            format!("is not a whole ONNX file: {detail}; export or download the model again")
        };
        let model = ModelProto::decode(content).map_err(|error| not_onnx(error.to_string()))?;
        let graph = model.graph.ok_or_else(|| not_onnx("it holds no graph".to_owned()))?;
        let mut weights = Vec::new();
        collect_weights(&graph, &mut weights);
        let named: BTreeSet<&str> =
            graph.initializer.iter().map(|weight| weight.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|input| !named.contains(input.name.as_str()));
        let data_files: BTreeSet<PathBuf> = weights
            .iter()
            .flat_map(|weight| &weight.external_data)
            .filter(|entry| entry.key == "location")
            .map(|entry| PathBuf::from(&entry.value))
            .collect();
        Ok(Self {
            inputs: inputs.map(port).collect(),
            outputs: graph.output.iter().map(port).collect(),
            data_files: data_files.into_iter().collect(),
            storage: storage(&weights),
        })
    }

    pub(crate) fn input(&self, name: &str) -> Option<&GraphPort> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

/// The weights of a graph and of the graphs inside its nodes.
fn collect_weights<'a>(graph: &'a GraphProto, weights: &mut Vec<&'a TensorProto>) {
    weights.extend(&graph.initializer);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        weights.extend(&attribute.t);
        if let Some(inner) = &attribute.g {
            collect_weights(inner, weights);
        }
    }
}

/// The numbers of `TensorProto.DataType` for weights narrower than 32 bits.
fn storage(weights: &[&TensorProto]) -> &'static str {
    let has = |types: &[i32]| weights.iter().any(|weight| types.contains(&weight.data_type));
    match () {
        () if has(&[2, 3, 21, 22]) => "int8",
        () if has(&[10]) => "fp16",
        () if has(&[16]) => "bf16",
        () => "fp32",
    }
}

fn port(value: &ValueInfoProto) -> GraphPort {
    let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dimensions = shape.map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let shape = dimensions
        .iter()
        .map(|dimension| usize::try_from(dimension.dim_value?).ok().filter(|size| *size > 0))
        .collect();
    GraphPort { name: value.name.clone(), shape }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An ONNX file with these inputs and outputs, whose axes are free where the size is 0, and
    /// with weights of type `data_type` in `data_files`.
    pub(crate) fn onnx(
        inputs: &[&str],
        outputs: &[(&str, &[i64])],
        (data_type, data_files): (i32, &[&str]),
    ) -> Vec<u8> {
        let value = |name: &str, sizes: &[i64]| {
            let dim = sizes.iter().map(|size| DimensionProto { dim_value: Some(*size) }).collect();
            let tensor_type = TensorTypeProto { elem_type: 1, shape: Some(ShapeProto { dim }) };
            let r#type = Some(TypeProto { tensor_type: Some(tensor_type) });
            ValueInfoProto { name: name.to_owned(), r#type }
        };
        let weight = |file: &str| TensorProto {
            data_type,
            name: format!("weight of {file}"),
            external_data: vec![StringEntry { key: "location".to_owned(), value: file.to_owned() }],
        };
        let inside = TensorProto { data_type, name: "w".to_owned(), external_data: Vec::new() };
        let initializer = data_files.iter().map(|file| weight(file)).chain([inside]).collect();
        let input = inputs.iter().map(|name| value(name, &[0, 0])).collect();
        let output = outputs.iter().map(|(name, sizes)| value(name, sizes)).collect();
        let graph = GraphProto { initializer, input, output, ..GraphProto::default() };
        ModelProto { graph: Some(graph) }.encode_to_vec()
    }

    #[test]
    fn inputs_outputs_and_shapes_are_those_of_the_file() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let summary = GraphSummary::read(&tests.join("pad-pooled/model.onnx")).unwrap();
        let names: Vec<&str> = summary.inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["input_ids", "attention_mask"]);
        assert_eq!(summary.inputs[0].shape, [None, None]);
        let logits = GraphPort { name: "logits".to_owned(), shape: vec![None, Some(1)] };
        assert_eq!(summary.outputs, [logits]);
        assert_eq!((summary.data_files.len(), summary.storage), (0, "fp32"));
        let half = GraphSummary::read(&tests.join("tiny-decoder-cuda/model.onnx")).unwrap();
        assert_eq!(half.storage, "fp16");
    }

    #[test]
    fn files_of_weights_are_found_in_inner_graphs_too() {
        let weight = |file: &str| TensorProto {
            data_type: 1,
            name: "w".to_owned(),
            external_data: vec![
                StringEntry { key: "location".to_owned(), value: file.to_owned() },
                StringEntry { key: "offset".to_owned(), value: "0".to_owned() },
            ],
        };
        let inner = GraphProto { initializer: vec![weight("inner")], ..GraphProto::default() };
        let attribute = AttributeProto { g: Some(inner), t: Some(weight("constant")) };
        let node = NodeProto { op_type: "If".to_owned(), attribute: vec![attribute] };
        let initializer = vec![weight("outer"), weight("outer")];
        let input = vec![
            ValueInfoProto { name: "w".to_owned(), r#type: None },
            ValueInfoProto { name: "input_ids".to_owned(), r#type: None },
        ];
        let graph = GraphProto { node: vec![node], initializer, input, ..GraphProto::default() };
        let summary =
            GraphSummary::parse(&ModelProto { graph: Some(graph) }.encode_to_vec()).unwrap();
        assert_eq!(summary.data_files, ["constant", "inner", "outer"].map(PathBuf::from));
        // A weight that is listed as an input is not one.
        assert_eq!(summary.inputs.len(), 1);
    }

    #[test]
    fn cut_and_foreign_files_are_refused() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pad-pooled/model.onnx");
        #[expect(clippy::disallowed_methods, reason = "a test reads a model")]
        let content = std::fs::read(path).unwrap();
        for part in [&content[..content.len() - 7], b"PK\x03\x04", b""] {
            let error = GraphSummary::parse(part).unwrap_err();
            assert!(error.contains("not a whole ONNX file"), "{error}");
        }
    }
}
