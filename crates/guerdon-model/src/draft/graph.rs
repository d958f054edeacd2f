//! Inputs, outputs and weights of an ONNX file, read without a session of ONNX Runtime.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use crate::Error;
use crate::load::files::refuse_pointer;
use crate::load::onnx_file::{OnnxConstant, OnnxGraph, OnnxModel, OnnxPort};

/// Size of the largest accepted file. An ONNX file cannot exceed it; larger weights are in files of
/// their own.
const MAX_BYTES: u64 = 2 << 30;

/// Operators that quantise an activation with one scale for all texts of a batch.
const DYNAMIC_OPERATORS: [&str; 2] = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul"];

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
    /// The rows of the table of position embeddings, if the graph has one.
    pub(crate) positions: Option<usize>,
    /// True if activations are quantised with one scale for a whole batch.
    pub(crate) scales_by_batch: bool,
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
        refuse_pointer(path, &content)?;
        Self::parse(content.into()).map_err(refused)
    }

    fn parse(content: Bytes) -> Result<Self, String> {
        let not_onnx = |detail: String| {
            format!("is not a whole ONNX file: {detail}; export or download the model again")
        };
        let model = OnnxModel::decode(content).map_err(|error| not_onnx(error.to_string()))?;
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
            positions: positions(&weights),
            scales_by_batch: has_node(&graph, &|node| DYNAMIC_OPERATORS.contains(&node)),
        })
    }

    pub(crate) fn input(&self, name: &str) -> Option<&GraphPort> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

/// The weights of a graph and of the graphs inside its nodes.
fn collect_weights<'a>(graph: &'a OnnxGraph, weights: &mut Vec<&'a OnnxConstant>) {
    weights.extend(&graph.initializer);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        weights.extend(&attribute.t);
        if let Some(inner) = &attribute.g {
            collect_weights(inner, weights);
        }
    }
}

/// True if a node of the graph, or of the graphs inside its nodes, is of a wanted type.
fn has_node(graph: &OnnxGraph, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    graph.node.iter().any(|node| {
        let mut inner = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
        is_wanted(&node.op_type) || inner.any(|graph| has_node(graph, is_wanted))
    })
}

/// The rows of the table of position embeddings, by the names that frameworks give it.
fn positions(weights: &[&OnnxConstant]) -> Option<usize> {
    let is_table = |name: &str| {
        let name = name.to_lowercase();
        let named = ["position_embedding", "embed_position", ".wpe.", "position_encoding"];
        named.iter().any(|part| name.contains(part)) && !name.contains("relative")
    };
    let tables = weights.iter().filter(|weight| is_table(&weight.name));
    tables
        .filter_map(|weight| match weight.dims.as_slice() {
            [rows, _] => usize::try_from(*rows).ok().filter(|rows| *rows > 1),
            _ => None,
        })
        .min()
}

/// The numbers of `TensorProto.DataType` for weights narrower than 32 bits.
fn storage(weights: &[&OnnxConstant]) -> &'static str {
    let has = |types: &[i32]| weights.iter().any(|weight| types.contains(&weight.data_type));
    match () {
        () if has(&[2, 3, 21, 22]) => "int8",
        () if has(&[10]) => "fp16",
        () if has(&[16]) => "bf16",
        () => "fp32",
    }
}

fn port(value: &OnnxPort) -> GraphPort {
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
    use crate::load::onnx_file::{
        OnnxAttribute, OnnxDimension, OnnxEntry, OnnxNode, OnnxShape, OnnxTensorType, OnnxType,
    };

    /// An ONNX file with these inputs and outputs, whose axes are free where the size is 0, and
    /// with weights of type `data_type` in `data_files`.
    pub(crate) fn onnx(
        inputs: &[&str],
        outputs: &[(&str, &[i64])],
        (data_type, data_files): (i32, &[&str]),
    ) -> Vec<u8> {
        let value = |name: &str, sizes: &[i64]| {
            let dim = sizes.iter().map(|size| OnnxDimension { dim_value: Some(*size) }).collect();
            let tensor_type = OnnxTensorType { elem_type: 1, shape: Some(OnnxShape { dim }) };
            let r#type = Some(OnnxType { tensor_type: Some(tensor_type) });
            OnnxPort { name: name.to_owned(), r#type }
        };
        let weight = |file: &str| OnnxConstant {
            data_type,
            name: format!("weight of {file}"),
            external_data: vec![OnnxEntry { key: "location".to_owned(), value: file.to_owned() }],
            ..OnnxConstant::default()
        };
        let inside = OnnxConstant { data_type, name: "w".to_owned(), ..OnnxConstant::default() };
        let initializer = data_files.iter().map(|file| weight(file)).chain([inside]).collect();
        let input = inputs.iter().map(|name| value(name, &[0, 0])).collect();
        let output = outputs.iter().map(|(name, sizes)| value(name, sizes)).collect();
        let graph = OnnxGraph { initializer, input, output, ..OnnxGraph::default() };
        OnnxModel { graph: Some(graph) }.encode_to_vec()
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
        let weight = |file: &str| OnnxConstant {
            data_type: 1,
            name: "w".to_owned(),
            external_data: vec![
                OnnxEntry { key: "location".to_owned(), value: file.to_owned() },
                OnnxEntry { key: "offset".to_owned(), value: "0".to_owned() },
            ],
            ..OnnxConstant::default()
        };
        let inner = OnnxGraph { initializer: vec![weight("inner")], ..OnnxGraph::default() };
        let attribute = OnnxAttribute { g: Some(inner), t: Some(weight("constant")) };
        let node = OnnxNode { op_type: "If".to_owned(), attribute: vec![attribute] };
        let initializer = vec![weight("outer"), weight("outer")];
        let input = vec![
            OnnxPort { name: "w".to_owned(), r#type: None },
            OnnxPort { name: "input_ids".to_owned(), r#type: None },
        ];
        let graph = OnnxGraph { node: vec![node], initializer, input, ..OnnxGraph::default() };
        let summary =
            GraphSummary::parse(OnnxModel { graph: Some(graph) }.encode_to_vec().into()).unwrap();
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
            let error = GraphSummary::parse(Bytes::copy_from_slice(part)).unwrap_err();
            assert!(error.contains("not a whole ONNX file"), "{error}");
        }
    }
}
