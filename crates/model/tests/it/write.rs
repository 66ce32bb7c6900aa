//! Writers of small GGUF files and safetensors folders, so that hostile files are made from valid ones.

use orrery_model::Error;
use orrery_model::weights::Checkpoint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// A metadata value as GGUF has it: its type number and its bytes.
pub type Encoded = (u32, Vec<u8>);

pub fn u32_value(value: u32) -> Encoded {
    (4, value.to_le_bytes().to_vec())
}

pub fn f32_value(value: f32) -> Encoded {
    (6, value.to_le_bytes().to_vec())
}

pub fn flag(value: bool) -> Encoded {
    (7, vec![u8::from(value)])
}

pub fn text(value: &str) -> Encoded {
    (8, string(value))
}

pub fn texts(values: &[&str]) -> Encoded {
    array(8, values.len() as u64, values.iter().flat_map(|value| string(value)).collect())
}

pub fn floats(values: &[f32]) -> Encoded {
    array(6, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

pub fn integers(values: &[i32]) -> Encoded {
    array(5, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// An array that claims `count` elements of type `kind`, whatever `bytes` hold.
pub fn array(kind: u32, count: u64, bytes: Vec<u8>) -> Encoded {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(count.to_le_bytes());
    out.extend(bytes);
    (9, out)
}

pub fn string(value: &str) -> Vec<u8> {
    let mut out = (value.len() as u64).to_le_bytes().to_vec();
    out.extend(value.as_bytes());
    out
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Innermost first, as GGUF has it.
    pub dimensions: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// Instead of the place where the data goes.
    pub offset: Option<u64>,
}

/// A GGUF file in the making.
#[derive(Clone)]
pub struct Gguf {
    pub version: u32,
    pub pairs: Vec<(String, Encoded)>,
    pub tensors: Vec<Tensor>,
    pub alignment: usize,
    /// Claimed instead of the real counts.
    pub tensor_count: Option<u64>,
    pub pair_count: Option<u64>,
}

impl Gguf {
    /// A valid `llama` model: 1 layer × 8, 2 heads / 1 KV of 4, feed-forward 16, vocabulary 3.
    pub fn tiny() -> Self {
        let mut file =
            Self { version: 3, pairs: vec![], tensors: vec![], alignment: 32, tensor_count: None, pair_count: None };
        file.set("general.architecture", text("llama"));
        for (key, value) in [
            ("block_count", 1),
            ("context_length", 64),
            ("embedding_length", 8),
            ("feed_forward_length", 16),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
        ] {
            file.set(&format!("llama.{key}"), u32_value(value));
        }
        file.set("llama.attention.layer_norm_rms_epsilon", f32_value(1e-6));
        file.set("tokenizer.ggml.model", text("llama"));
        file.set("tokenizer.ggml.tokens", texts(&["<unk>", "a", "b"]));
        file.set("tokenizer.ggml.scores", floats(&[0.0, -1.0, -2.0]));
        file.set("tokenizer.ggml.token_type", integers(&[2, 1, 1]));
        file.set("tokenizer.ggml.bos_token_id", u32_value(1));
        file.set("tokenizer.ggml.add_bos_token", flag(true));
        for (name, dimensions) in tiny_shapes() {
            file.add(name, &dimensions);
        }
        file
    }

    /// Sets a key, new or there already.
    pub fn set(&mut self, key: &str, value: Encoded) {
        match self.pairs.iter_mut().find(|(name, _)| name == key) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
    }

    pub fn remove(&mut self, key: &str) {
        self.pairs.retain(|(name, _)| name != key);
    }

    /// Adds an F32 tensor whose values count up.
    pub fn add(&mut self, name: &str, dimensions: &[u64]) {
        let count = dimensions.iter().product::<u64>();
        let data = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dimensions: dimensions.to_vec(),
            kind: 0,
            data,
            offset: None,
        });
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.pair_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, (kind, value)) in &self.pairs {
            out.extend(string(key));
            out.extend(kind.to_le_bytes());
            out.extend(value);
        }
        let mut place = 0;
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            tensor.dimensions.iter().for_each(|size| out.extend(size.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(place).to_le_bytes());
            place += tensor.data.len().next_multiple_of(self.alignment) as u64;
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&tensor.data);
        }
        out
    }

    pub fn open(&self) -> Result<Checkpoint, Error> {
        open_bytes(&self.bytes())
    }
}

pub fn tiny_shapes() -> Vec<(&'static str, Vec<u64>)> {
    vec![
        ("token_embd.weight", vec![8, 3]),
        ("output_norm.weight", vec![8]),
        ("blk.0.attn_norm.weight", vec![8]),
        ("blk.0.attn_q.weight", vec![8, 8]),
        ("blk.0.attn_k.weight", vec![8, 4]),
        ("blk.0.attn_v.weight", vec![8, 4]),
        ("blk.0.attn_output.weight", vec![8, 8]),
        ("blk.0.ffn_norm.weight", vec![8]),
        ("blk.0.ffn_gate.weight", vec![8, 16]),
        ("blk.0.ffn_up.weight", vec![8, 16]),
        ("blk.0.ffn_down.weight", vec![16, 8]),
    ]
}

/// Opens a file of these bytes.
pub fn open_bytes(bytes: &[u8]) -> Result<Checkpoint, Error> {
    open_in(&TempDir::new().unwrap(), bytes)
}

/// The same in a folder that stays.
pub fn open_in(folder: &TempDir, bytes: &[u8]) -> Result<Checkpoint, Error> {
    put(folder.path(), "model.gguf", bytes);
    Checkpoint::open(&folder.path().join("model.gguf"))
}

/// The error must say `part`.
pub fn assert_refused(what: &str, result: Result<Checkpoint, Error>, part: &str) {
    match result {
        Ok(_) => panic!("{what}: opened"),
        Err(error) => assert!(error.to_string().contains(part), "{what}: `{error}` does not say `{part}`"),
    }
}

/// A safetensors file: the header as given, and then the data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// A safetensors file of F32 tensors whose values count up.
pub fn safetensors_of(tensors: &[(&str, Vec<usize>)]) -> Vec<u8> {
    let (mut rows, mut data) = (BTreeMap::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        let count = shape.iter().product::<usize>();
        data.extend((0..count).flat_map(|value| (value as f32).to_le_bytes()));
        rows.insert(*name, json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    safetensors(&serde_json::to_string(&rows).unwrap(), &data)
}

/// The same tiny model as [`Gguf::tiny`], with transformers' names.
pub fn tiny_tensors() -> Vec<(&'static str, Vec<usize>)> {
    vec![
        ("model.embed_tokens.weight", vec![3, 8]),
        ("model.norm.weight", vec![8]),
        ("lm_head.weight", vec![3, 8]),
        ("model.layers.0.input_layernorm.weight", vec![8]),
        ("model.layers.0.self_attn.q_proj.weight", vec![8, 8]),
        ("model.layers.0.self_attn.k_proj.weight", vec![4, 8]),
        ("model.layers.0.self_attn.v_proj.weight", vec![4, 8]),
        ("model.layers.0.self_attn.o_proj.weight", vec![8, 8]),
        ("model.layers.0.post_attention_layernorm.weight", vec![8]),
        ("model.layers.0.mlp.gate_proj.weight", vec![16, 8]),
        ("model.layers.0.mlp.up_proj.weight", vec![16, 8]),
        ("model.layers.0.mlp.down_proj.weight", vec![8, 16]),
    ]
}

pub fn tiny_config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 3,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0,
    })
}

/// A folder with a valid tiny model.
pub fn tiny_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "config.json", tiny_config().to_string().as_bytes());
    put(folder.path(), "tokenizer.json", b"{}");
    put(folder.path(), "model.safetensors", &safetensors_of(&tiny_tensors()));
    folder
}

/// Writes a file anew. One that is there is deleted and not cut: some file systems flush a file that is cut and
/// written again, which costs milliseconds each time.
pub fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let _ = std::fs::remove_file(folder.join(name));
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// Small reproducible random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}
