//! Writing ONNX: a graph that is built node by node.
//!
//! It knows the container and no model: preparation and trainers each add their own nodes to one [`Graph`]. Operators of the
//! default domain are those of opset 20, those of `ai.onnx.ml` of version 3 (what ONNX Runtime has kernels for on the CPU).

mod proto;

use prost::Message;
use proto::{
    AttributeProto, DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Version of the default operators.
pub const OPSET: i64 = 20;
/// Version of the operators of `ai.onnx.ml`.
pub const OPSET_ML: i64 = 3;
/// Version of the container (ONNX 1.15 and later read it).
const IR_VERSION: i64 = 9;

/// Type of a tensor's elements, with the codes of `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32 = 1,
    /// Unsigned byte.
    U8 = 2,
    /// 32-bit integer.
    I32 = 6,
    /// 64-bit integer.
    I64 = 7,
    /// UTF-8 text.
    Text = 8,
    /// Truth value.
    Bool = 9,
    /// 64-bit float.
    F64 = 11,
}

/// One dimension of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// The number of examples of a call: any.
    Batch,
    /// Always this.
    Fixed(usize),
}

/// A tensor inside the graph, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

/// A constant setting of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// One float.
    Float(f32),
    /// One integer.
    Int(i64),
    /// A text.
    Text(String),
    /// Floats.
    Floats(Vec<f32>),
    /// Integers.
    Ints(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

/// A graph while it is built. Nodes stand in the order in which they are added, which is the order in which they can run.
#[derive(Debug, Default)]
pub struct Graph {
    proto: GraphProto,
    names: usize,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph { proto: GraphProto { name: name.to_owned(), ..GraphProto::default() }, names: 0 }
    }

    /// Adds an input; the caller sees to it that no two have one name.
    pub fn input(&mut self, name: &str, element: Element, shape: &[Dim]) -> Value {
        self.proto.input.push(value_info(name, element, shape));
        Value(name.to_owned())
    }

    /// The input of a name, which was added before.
    pub fn named(&self, name: &str) -> Value {
        debug_assert!(self.proto.input.iter().any(|input| input.name == name), "no input {name}");
        Value(name.to_owned())
    }

    /// Makes `value` an output under `name`.
    pub fn output(&mut self, value: &Value, name: &str, element: Element, shape: &[Dim]) {
        self.proto.node.push(NodeProto {
            input: vec![value.0.clone()],
            output: vec![name.to_owned()],
            name: format!("output {name}"),
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        });
        self.proto.output.push(value_info(name, element, shape));
    }

    /// Adds a constant of 32-bit floats of the shape `dims`.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::F32, dims, values.len(), raw)
    }

    /// Adds a constant of 64-bit floats of the shape `dims`.
    pub fn doubles(&mut self, dims: &[usize], values: &[f64]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::F64, dims, values.len(), raw)
    }

    /// Adds a constant of 64-bit integers of the shape `dims`.
    pub fn ints(&mut self, dims: &[usize], values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::I64, dims, values.len(), raw)
    }

    /// Adds a constant of texts of the shape `dims`.
    pub fn texts<S: AsRef<str>>(&mut self, dims: &[usize], values: &[S]) -> Value {
        let value = self.constant(Element::Text, dims, values.len(), Vec::new());
        if let Some(tensor) = self.proto.initializer.last_mut() {
            tensor.string_data = values.iter().map(|text| text.as_ref().as_bytes().to_vec()).collect();
        }
        value
    }

    /// Adds a node of the default domain with one result.
    pub fn node(&mut self, operator: &str, inputs: &[&Value], settings: &[(&str, Setting)]) -> Value {
        self.nodes("", operator, inputs, settings, 1).remove(0)
    }

    /// Adds a node of `ai.onnx.ml` with one result.
    pub fn ml(&mut self, operator: &str, inputs: &[&Value], settings: &[(&str, Setting)]) -> Value {
        self.nodes("ai.onnx.ml", operator, inputs, settings, 1).remove(0)
    }

    /// Adds a node of any domain with `results` results (at least one).
    pub fn nodes(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&Value],
        settings: &[(&str, Setting)],
        results: usize,
    ) -> Vec<Value> {
        let outputs: Vec<Value> = (0..results.max(1)).map(|_| self.fresh(operator)).collect();
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name: outputs[0].0.clone(),
            op_type: operator.to_owned(),
            attribute: settings.iter().map(|(name, setting)| attribute(name, setting)).collect(),
            domain: domain.to_owned(),
        });
        outputs
    }

    /// An input of a node that is left out.
    pub fn absent() -> Value {
        Value(String::new())
    }

    /// The file's bytes. `notes` become its metadata.
    pub fn finish(self, notes: &[(&str, &str)]) -> Vec<u8> {
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let note =
            |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).to_owned(), value: (*value).to_owned() };
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "orrery".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.proto),
            opset_import: vec![opset("", OPSET), opset("ai.onnx.ml", OPSET_ML), opset("com.microsoft", 1)],
            metadata_props: notes.iter().map(note).collect(),
        }
        .encode_to_vec()
    }

    fn constant(&mut self, element: Element, dims: &[usize], count: usize, raw_data: Vec<u8>) -> Value {
        debug_assert_eq!(dims.iter().product::<usize>(), count, "a constant of another shape");
        let value = self.fresh("constant");
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: element as i32,
            name: value.0.clone(),
            raw_data,
            ..TensorProto::default()
        });
        value
    }

    /// Inner names begin with `/`, so that no input of the caller's meets them.
    fn fresh(&mut self, what: &str) -> Value {
        self.names += 1;
        Value(format!("/{what}/{}", self.names))
    }
}

fn value_info(name: &str, element: Element, shape: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| DimensionProto {
        value: Some(match dim {
            Dim::Batch => DimensionValue::Named("batch".to_owned()),
            Dim::Fixed(size) => DimensionValue::Fixed(*size as i64),
        }),
    };
    let tensor_type = TensorTypeProto {
        elem_type: element as i32,
        shape: Some(TensorShapeProto { dim: shape.iter().map(dim).collect() }),
    };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

/// The codes are those of `AttributeProto.AttributeType`.
fn attribute(name: &str, setting: &Setting) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    proto.r#type = match setting {
        Setting::Float(value) => {
            proto.f = *value;
            1
        }
        Setting::Int(value) => {
            proto.i = *value;
            2
        }
        Setting::Text(value) => {
            proto.s = value.clone().into_bytes();
            3
        }
        Setting::Floats(values) => {
            proto.floats = values.clone();
            6
        }
        Setting::Ints(values) => {
            proto.ints = values.clone();
            7
        }
        Setting::Texts(values) => {
            proto.strings = values.iter().map(|value| value.clone().into_bytes()).collect();
            8
        }
    };
    proto
}
