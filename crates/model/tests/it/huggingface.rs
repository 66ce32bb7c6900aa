//! Hugging Face folders: what is read from a valid one, and what is refused.

use crate::write::{Gguf, assert_refused, put, safetensors_of, tiny_config, tiny_folder, tiny_tensors};
use orrery_kernels::quant::Format;
use orrery_model::Error;
use orrery_model::weights::{Checkpoint, Hyper, RopeScaling, TextSource};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// Opens the tiny model with these keys set in its `config.json`; `null` is written as such.
fn open_with(changes: Value) -> Result<Checkpoint, Error> {
    let folder = tiny_folder();
    let mut config = tiny_config();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    put(folder.path(), "config.json", config.to_string().as_bytes());
    Checkpoint::open(folder.path())
}

fn hyper_with(changes: Value) -> Hyper {
    open_with(changes).unwrap().hyper().clone()
}

#[test]
fn a_folder_reads_as_the_same_model_in_gguf() {
    let folder = tiny_folder();
    put(folder.path(), "tokenizer_config.json", b"{\"x\":1}");
    put(folder.path(), "chat_template.jinja", b"{{ messages }}");
    let ours = Checkpoint::open(folder.path()).unwrap();
    let gguf = Gguf::tiny().open().unwrap();
    assert_eq!(*ours.hyper(), Hyper { rope_interleaved: false, ..gguf.hyper().clone() });
    for info in gguf.tensors() {
        assert_eq!(ours.tensor(&info.name), Some(info));
        assert_eq!(ours.read(&info.name).unwrap(), gguf.read(&info.name).unwrap(), "{}", info.name);
    }
    assert!(ours.tensor("output.weight").is_some());
    let TextSource::HuggingFace { tokenizer, tokenizer_config, generation_config, config, chat_template } = ours.text()
    else {
        panic!("not a folder's text")
    };
    assert_eq!((tokenizer.as_str(), tokenizer_config.as_deref()), ("{}", Some("{\"x\":1}")));
    assert_eq!((generation_config, chat_template.as_deref()), (&None, Some("{{ messages }}")));
    assert!(config.contains("LlamaForCausalLM"));
}

#[test]
fn architectures_are_told_by_class_or_model_type() {
    for (class, expected) in [
        ("LlamaForCausalLM", "llama"),
        ("MistralForCausalLM", "llama"),
        ("Qwen2ForCausalLM", "qwen2"),
        ("Qwen3ForCausalLM", "qwen3"),
    ] {
        let hyper = hyper_with(json!({"architectures": [class], "model_type": "other", "head_dim": 4}));
        assert_eq!(hyper.architecture, expected);
    }
    assert_eq!(hyper_with(json!({"architectures": null, "model_type": "qwen2"})).architecture, "qwen2");
    assert_eq!(hyper_with(json!({"architectures": ["Qwen3ForCausalLM"]})).head_dim, 128, "the class's default");
    let refused = open_with(json!({"architectures": ["GPT2LMHeadModel"]}));
    assert_refused("GPT-2", refused, "`GPT2LMHeadModel` is not supported; supported: LlamaForCausalLM, Mistral");
}

#[test]
fn a_silent_configuration_means_what_its_class_says() {
    let kv_heads = |class: &str| {
        let silent =
            json!({"architectures": [class], "num_attention_heads": 16, "head_dim": 2, "num_key_value_heads": null});
        hyper_with(silent).kv_heads
    };
    assert_eq!((kv_heads("LlamaForCausalLM"), kv_heads("MistralForCausalLM")), (16, 8));
    let head_dim = |class: &str| hyper_with(json!({"architectures": [class]})).head_dim;
    assert_eq!((head_dim("LlamaForCausalLM"), head_dim("Qwen3ForCausalLM")), (4, 128));
}

#[test]
fn the_head_is_tied_only_where_the_configuration_says_so() {
    let tied = open_with(json!({"tie_word_embeddings": true})).unwrap();
    assert!(tied.tensor("output.weight").is_none());
    let folder = tiny_folder();
    let tensors: Vec<_> = tiny_tensors().into_iter().filter(|(name, _)| *name != "lm_head.weight").collect();
    put(folder.path(), "model.safetensors", &safetensors_of(&tensors));
    assert_refused("no head", Checkpoint::open(folder.path()), "`lm_head.weight` is missing");
}

#[test]
fn rope_scaling_is_read_in_the_old_form_and_the_new() {
    let scaling = |value: &Value| {
        let old = hyper_with(json!({"rope_scaling": value, "rope_theta": 5e5}));
        let mut inside = value.clone();
        inside["rope_theta"] = json!(5e5);
        let new = hyper_with(json!({"rope_parameters": inside, "rope_theta": null}));
        assert_eq!((old.rope_theta, &old.rope_scaling), (5e5, &new.rope_scaling), "{value}");
        assert_eq!(new.rope_theta, 5e5);
        old.rope_scaling
    };
    assert_eq!(scaling(&json!({"rope_type": "default"})), RopeScaling::None);
    assert_eq!(scaling(&json!({"type": "linear", "factor": 2})), RopeScaling::Linear { factor: 2.0 });
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32});
    assert_eq!(
        scaling(&llama3),
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 32.0 }
    );
    let yarn = |original_context, attention_factor| RopeScaling::Yarn {
        factor: 4.0,
        original_context,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor,
    };
    assert_eq!(scaling(&json!({"rope_type": "yarn", "factor": 4.0})), yarn(64.0, None));
    let original = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16});
    assert_eq!(scaling(&original), yarn(16.0, None));
    let scaled = json!({"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5});
    let expected = (0.1 * 4_f64.ln() + 1.0) / (0.05 * 4_f64.ln() + 1.0);
    assert_eq!(scaling(&scaled), yarn(64.0, Some(expected)));
    assert_eq!(hyper_with(json!({"rope_scaling": null})).rope_scaling, RopeScaling::None);
    // YaRN's stretched context is the longer one.
    assert_eq!(hyper_with(json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}})).context, 256);
}

#[test]
fn sliding_windows_cap_the_context_where_they_slide() {
    let mistral = |changes: Value| {
        let mut all = json!({"architectures": ["MistralForCausalLM"], "max_position_embeddings": 8192});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        hyper_with(all).context
    };
    assert_eq!(mistral(json!({"sliding_window": 1024})), 1024);
    assert_eq!(mistral(json!({"sliding_window": null})), 8192);
    assert_eq!(mistral(json!({})), 4096, "the class's default");
    let qwen = |use_it: bool, from: usize| {
        hyper_with(json!({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 16, "use_sliding_window": use_it,
            "max_window_layers": from}))
        .context
    };
    assert_eq!((qwen(false, 0), qwen(true, 1), qwen(true, 0)), (64, 64, 16));
    assert_eq!(hyper_with(json!({"sliding_window": 16})).context, 64, "llama has no window");
}

#[test]
fn configurations_that_compute_something_else_are_refused() {
    for (changes, expected) in [
        (json!({"hidden_act": "gelu"}), "activation function `gelu`"),
        (json!({"quantization_config": {"quant_method": "gptq"}}), "quantised checkpoint `gptq`"),
        (json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}), "rope scaling `dynamic`"),
        (json!({"rope_scaling": {"rope_type": "linear"}}), "`factor` is missing"),
        (json!({"rope_scaling": {"rope_type": "linear", "factor": "2"}}), "`factor` is \"2\""),
        (json!({"rope_scaling": {"rope_type": "linear", "factor": 0}}), "rope scaling value 0"),
        (json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": false}}), "truncate = false"),
        (json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}), "different scaling per layer"),
        (json!({"num_attention_heads": 0}), "is not in 1 to"),
        (json!({"num_key_value_heads": 3}), "cannot share 3"),
        (json!({"num_hidden_layers": -1}), "config.json: not a model"),
        (json!({"num_hidden_layers": 1e30}), "config.json: not a model"),
        (json!({"vocab_size": 4}), "shape [3, 8]; [4, 8] was declared"),
        (json!({"head_dim": 3}), "must be even"),
        (json!({"hidden_size": u64::MAX}), "is not in 1 to"),
    ] {
        assert_refused(&changes.to_string(), open_with(changes.clone()), expected);
    }
}

/// A folder whose tensors are in two shards, the index changed by `change`.
fn sharded(change: impl Fn(&mut Value)) -> TempDir {
    let folder = tiny_folder();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let tensors = tiny_tensors();
    let (first, second) = tensors.split_at(5);
    let mut map = json!({});
    for (shard, part) in [("a.safetensors", first), ("b.safetensors", second)] {
        put(folder.path(), shard, &safetensors_of(part));
        part.iter().for_each(|(name, _)| map[*name] = json!(shard));
    }
    let mut index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    change(&mut index);
    put(folder.path(), "model.safetensors.index.json", index.to_string().as_bytes());
    folder
}

#[test]
fn shards_read_as_one_model() {
    let whole = tiny_folder();
    let whole = Checkpoint::open(whole.path()).unwrap();
    let folder = sharded(|_| {});
    let parts = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(parts.tensors().count(), whole.tensors().count());
    for info in whole.tensors() {
        assert_eq!(parts.tensor(&info.name), Some(info));
        assert_eq!(parts.read(&info.name).unwrap(), whole.read(&info.name).unwrap());
    }
}

#[test]
fn hostile_shard_indices_are_refused() {
    let embedding = "model.embed_tokens.weight";
    type Change = fn(&mut Value);
    let cases: &[(&str, Change)] = &[
        ("a plain file name is needed", |index| index["weight_map"]["x"] = json!("../a.safetensors")),
        ("a plain file name is needed", |index| index["weight_map"]["x"] = json!("/etc/passwd")),
        ("a plain file name is needed", |index| index["weight_map"]["x"] = json!("sub/a.safetensors")),
        ("a plain file name is needed", |index| index["weight_map"]["x"] = json!("")),
        ("`c.safetensors` is missing", |index| index["weight_map"]["x"] = json!("c.safetensors")),
        ("tensor `x` is not in `a.safetensors`", |index| index["weight_map"]["x"] = json!("a.safetensors")),
        ("is not in `b.safetensors`", |index| {
            index["weight_map"]["model.embed_tokens.weight"] = json!("b.safetensors")
        }),
        ("names no tensors", |index| index["weight_map"] = json!({})),
        ("model.safetensors.index.json", |index| *index = json!([])),
        ("over the limit of 512", |index| {
            (0..600).for_each(|shard| index["weight_map"][format!("x{shard}")] = json!(format!("{shard}.safetensors")));
        }),
    ];
    for (expected, change) in cases {
        let folder = sharded(change);
        assert_refused(expected, Checkpoint::open(folder.path()), expected);
    }
    let folder = sharded(|_| {});
    put(folder.path(), "b.safetensors", &safetensors_of(&[(embedding, vec![3, 8])]));
    assert_refused("twice", Checkpoint::open(folder.path()), "is in `a.safetensors` and `b.safetensors`");
}

#[test]
fn missing_files_and_pickles_are_named() {
    let without = |name: &str| {
        let folder = tiny_folder();
        std::fs::remove_file(folder.path().join(name)).unwrap();
        folder
    };
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        assert_refused(name, Checkpoint::open(without(name).path()), &format!("`{name}` is missing"));
    }
    let folder = without("model.safetensors");
    put(folder.path(), "pytorch_model.bin", b"PK\x03\x04");
    let result = Checkpoint::open(folder.path());
    assert!(matches!(result, Err(Error::Unsupported { .. })));
    assert_refused("pickle", result, "`pytorch_model.bin`, a Python pickle");
    let folder = tiny_folder();
    put(folder.path(), "tokenizer.json", b"\xff\xfe");
    assert_refused("not UTF-8", Checkpoint::open(folder.path()), "`tokenizer.json` is not UTF-8");
}

#[cfg(unix)]
#[test]
fn texts_are_not_read_past_their_limit() {
    let folder = tiny_folder();
    let long = std::fs::OpenOptions::new().write(true).open(folder.path().join("tokenizer.json")).unwrap();
    long.set_len((64 << 20) + 1).unwrap();
    assert_refused(
        "a long text",
        Checkpoint::open(folder.path()),
        "`tokenizer.json` has 67108865 bytes, over the limit",
    );
}

#[test]
fn links_are_followed_inside_the_folder_and_the_hub_cache_only() {
    use std::os::unix::fs::symlink;
    let outside = tiny_folder();
    let moved = |folder: &Path, target: &Path| {
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
        symlink(target, folder.join("model.safetensors")).unwrap();
    };
    let folder = tiny_folder();
    moved(folder.path(), &outside.path().join("model.safetensors"));
    assert_refused("outside", Checkpoint::open(folder.path()), "a link that leads out of the folder");

    let folder = tiny_folder();
    std::fs::rename(folder.path().join("model.safetensors"), folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("model.safetensors")).unwrap();
    assert!(Checkpoint::open(folder.path()).is_ok());

    let cache = TempDir::new().unwrap();
    let model = cache.path().join("models--org--name");
    let snapshot = model.join("snapshots/0123abcd");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(model.join("blobs")).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(outside.path().join(name), model.join("blobs").join(name)).unwrap();
        symlink(Path::new("../../blobs").join(name), snapshot.join(name)).unwrap();
    }
    let checkpoint = Checkpoint::open(&snapshot).unwrap();
    assert_eq!(checkpoint.tensor("token_embd.weight").unwrap().format, Format::F32);
    std::fs::write(cache.path().join("secret"), "{}").unwrap();
    std::fs::remove_file(snapshot.join("tokenizer.json")).unwrap();
    symlink("../../../secret", snapshot.join("tokenizer.json")).unwrap();
    assert_refused("past the blobs", Checkpoint::open(&snapshot), "a link that leads out of the folder");
}
