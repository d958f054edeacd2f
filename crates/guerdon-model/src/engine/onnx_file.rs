//! The parts of an ONNX file that hold its constants. Field numbers are those of `onnx.proto`; other
//! fields are skipped.

use std::sync::Arc;

use bytes::Bytes;
use ort::value::{DynValue, Tensor};

/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;

/// `ModelProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxModel {
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<OnnxGraph>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OnnxGraph {
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<OnnxConstant>,
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
    /// `EXTERNAL` if the elements are in another file.
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

/// `TensorProto.DataLocation.EXTERNAL`.
pub(crate) const EXTERNAL: i32 = 1;

impl OnnxConstant {
    /// A tensor that owns a copy of the elements; `None` if they are of a type that weights do not
    /// have.
    pub(crate) fn tensor(&self) -> ort::Result<Option<Arc<DynValue>>> {
        let (dims, bytes) = (self.dims.clone(), &self.raw_data);
        let value = match self.data_type {
            FLOAT => {
                let (elements, _) = bytes.as_chunks::<4>();
                let elements: Vec<f32> = elements.iter().map(|e| f32::from_le_bytes(*e)).collect();
                Tensor::from_array((dims, elements))?.into_dyn()
            }
            UINT8 => Tensor::from_array((dims, bytes.to_vec()))?.into_dyn(),
            INT8 => {
                let elements: Vec<i8> = bytes.iter().map(|e| e.cast_signed()).collect();
                Tensor::from_array((dims, elements))?.into_dyn()
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(value)))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn constant(data_type: i32, dims: Vec<i64>, raw_data: &'static [u8]) -> OnnxConstant {
        OnnxConstant {
            dims,
            data_type,
            name: "w".to_owned(),
            raw_data: raw_data.into(),
            data_location: 0,
        }
    }

    #[test]
    fn shape_that_disagrees_with_its_data_is_an_error() {
        crate::load::runtime::environment(None).unwrap();
        assert!(constant(FLOAT, vec![2], &[0; 8]).tensor().unwrap().is_some());
        assert!(constant(FLOAT, vec![3], &[0; 8]).tensor().is_err());
        assert!(constant(INT8, vec![2, 2], &[255; 4]).tensor().unwrap().is_some());
        assert!(constant(7, vec![1], &[0; 8]).tensor().unwrap().is_none());
    }

    #[test]
    fn damaged_file_is_an_error() {
        let graph = OnnxGraph { initializer: vec![constant(FLOAT, vec![2], &[0; 8])] };
        let bytes = OnnxModel { graph: Some(graph) }.encode_to_vec();
        assert!(OnnxModel::decode(&*bytes).is_ok());
        assert!(OnnxModel::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
