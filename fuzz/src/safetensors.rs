//! A folder as the hub has them: its first byte says which file is hostile, the others are good.

use orrery_model::weights::Checkpoint;
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

/// Ends one part of the input where there are two.
const END: u8 = 0xff;

const SHAPES: [(&str, &[usize]); 12] = [
    ("model.embed_tokens.weight", &[3, 8]),
    ("model.norm.weight", &[8]),
    ("lm_head.weight", &[3, 8]),
    ("model.layers.0.input_layernorm.weight", &[8]),
    ("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
    ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
    ("model.layers.0.self_attn.v_proj.weight", &[4, 8]),
    ("model.layers.0.self_attn.o_proj.weight", &[8, 8]),
    ("model.layers.0.post_attention_layernorm.weight", &[8]),
    ("model.layers.0.mlp.gate_proj.weight", &[16, 8]),
    ("model.layers.0.mlp.up_proj.weight", &[16, 8]),
    ("model.layers.0.mlp.down_proj.weight", &[8, 16]),
];

thread_local! {
    static FOLDERS: [Hostile; 4] = [
        Hostile::new("model.safetensors", true),
        Hostile::new("model.safetensors.index.json", false),
        Hostile::new("config.json", true),
        Hostile::new("model.safetensors", true),
    ];
}

/// A folder of a good model in which one file is replaced each time.
struct Hostile {
    folder: TempDir,
    name: &'static str,
}

impl Hostile {
    fn new(name: &'static str, whole: bool) -> Self {
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder for files");
        let path = folder.path();
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 3,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0,
        });
        put(path, "config.json", config.to_string().as_bytes());
        put(path, "tokenizer.json", b"{}");
        if whole {
            put(path, "model.safetensors", &model(&SHAPES));
        } else {
            put(path, "a.safetensors", &model(&SHAPES[..3]));
            put(path, "b.safetensors", &model(&SHAPES[3..]));
        }
        Self { folder, name }
    }

    fn open(&self, bytes: &[u8]) {
        put(self.folder.path(), self.name, bytes);
        let Ok(checkpoint) = Checkpoint::open(self.folder.path()) else { return };
        for tensor in checkpoint.tensors() {
            let bytes = checkpoint.read(&tensor.name).expect("a tensor of an opened file is in the file");
            assert_eq!(bytes.len(), tensor.format.bytes(tensor.shape.iter().product()), "{}", tensor.name);
        }
    }
}

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let which = usize::from(kind % 4);
    FOLDERS.with(|folders| match which {
        // The header's length is put in: a mutation rarely gets it right.
        0 => {
            let end = data.iter().position(|byte| *byte == END).unwrap_or(data.len());
            folders[0].open(&file(&data[..end], data.get(end + 1..).unwrap_or_default()));
        }
        which => folders[which].open(data),
    });
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("written");
}

fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(data);
    out
}

fn model(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut rows = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let begin = end;
        end += 2 * shape.iter().product::<usize>();
        rows.insert((*name).to_owned(), json!({"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}));
    }
    file(serde_json::Value::Object(rows).to_string().as_bytes(), &vec![0; end])
}
