//! The parts of an ONNX file that guerdon reads without ONNX Runtime: inputs, outputs, nodes and
//! constants. Field numbers are those of `onnx.proto`; other fields are skipped.

use bytes::Bytes;

/// `ModelProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxModel {
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<OnnxGraph>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxGraph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<OnnxNode>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<OnnxConstant>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<OnnxPort>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<OnnxPort>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxNode {
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<OnnxAttribute>,
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxAttribute {
    #[prost(message, optional, tag = "5")]
    pub(crate) t: Option<OnnxConstant>,
    #[prost(message, optional, tag = "6")]
    pub(crate) g: Option<OnnxGraph>,
}

/// `TensorProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxConstant {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    /// Little-endian elements; empty if they are stored in another field or file.
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) raw_data: Bytes,
    /// The place of elements in another file.
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<OnnxEntry>,
    /// `EXTERNAL` if the elements are in another file.
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

/// `TensorProto.DataLocation.EXTERNAL`.
pub(crate) const EXTERNAL: i32 = 1;

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxEntry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `ValueInfoProto`, an input or an output.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxPort {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<OnnxType>,
}

/// `TypeProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxType {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<OnnxTensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxTensorType {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<OnnxShape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxShape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<OnnxDimension>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxDimension {
    #[prost(int64, optional, tag = "1")]
    pub(crate) dim_value: Option<i64>,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn damaged_file_is_an_error() {
        let weight = OnnxConstant { raw_data: (&[0; 8][..]).into(), ..OnnxConstant::default() };
        let graph = OnnxGraph { initializer: vec![weight], ..OnnxGraph::default() };
        let bytes = OnnxModel { graph: Some(graph) }.encode_to_vec();
        assert!(OnnxModel::decode(&*bytes).is_ok());
        assert!(OnnxModel::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
