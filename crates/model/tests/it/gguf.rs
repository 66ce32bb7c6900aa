//! GGUF files: what is read from a valid one, and that hostile ones are refused (THREATS A1 to A3, A7, A12).

use crate::write::{
    Gguf, Random, array, assert_refused, f32_value, floats, integers, open_bytes, open_in, text, texts, u32_value,
};
use orrery_kernels::quant::Format;
use orrery_model::Error;
use orrery_model::weights::{Checkpoint, GgufText, RopeScaling, TextSource};
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

#[test]
fn a_valid_file_gives_its_parameters_text_and_tensors() {
    for version in [2, 3] {
        let checkpoint = Gguf { version, ..Gguf::tiny() }.open().unwrap();
        let hyper = checkpoint.hyper();
        assert_eq!((hyper.layers, hyper.hidden, hyper.heads, hyper.kv_heads), (1, 8, 2, 1));
        assert_eq!((hyper.head_dim, hyper.rope_dim, hyper.intermediate), (4, 4, 16));
        assert_eq!((hyper.vocabulary, hyper.context, hyper.rope_theta), (3, 64, 10_000.0));
        assert_eq!((hyper.architecture.as_str(), hyper.rms_eps), ("llama", 1e-6));
        assert!(hyper.rope_interleaved);
        assert_eq!(hyper.rope_scaling, RopeScaling::None);

        let info = checkpoint.tensor("blk.0.attn_k.weight").unwrap();
        assert_eq!((info.format, info.shape.as_slice()), (Format::F32, &[4, 8][..]));
        let expected: Vec<u8> = (0..32).flat_map(|value| (value as f32).to_le_bytes()).collect();
        assert_eq!(checkpoint.read("blk.0.attn_k.weight").unwrap(), expected);
        assert_eq!(checkpoint.tensors().count(), 11);
        assert!(checkpoint.tensor("output.weight").is_none());
        assert!(matches!(checkpoint.read("output.weight"), Err(Error::Tensor { .. })));

        let expected = GgufText {
            model: "llama".to_owned(),
            tokens: ["<unk>", "a", "b"].map(str::to_owned).to_vec(),
            scores: vec![0.0, -1.0, -2.0],
            token_types: vec![2, 1, 1],
            bos: Some(1),
            add_bos: Some(true),
            ..GgufText::default()
        };
        let TextSource::Gguf(text) = checkpoint.text() else { panic!("not GGUF's text") };
        assert_eq!(*text, expected);
    }
}

#[test]
fn quantised_and_aligned_tensors_are_read_from_their_place() {
    let mut file = Gguf::tiny();
    file.alignment = 128;
    file.set("general.alignment", u32_value(128));
    let mut tensor = file.tensors[3].clone();
    tensor.name = "extra.weight".to_owned();
    tensor.kind = Format::Q4_K.ggml_type();
    tensor.dimensions = vec![256, 2, 1];
    tensor.data = (0..288).map(|value| value as u8).collect();
    file.tensors.insert(1, tensor.clone());
    let checkpoint = file.open().unwrap();
    assert_eq!(checkpoint.tensor("extra.weight").unwrap().shape, [1, 2, 256]);
    assert_eq!(checkpoint.read("extra.weight").unwrap(), tensor.data);
    assert_eq!(checkpoint.read("output_norm.weight").unwrap()[28..], 7_f32.to_le_bytes());
}

#[test]
fn head_dimension_window_and_unused_ids_are_honoured() {
    let mut file = Gguf::tiny();
    file.set("llama.attention.key_length", u32_value(6));
    file.set("llama.attention.value_length", u32_value(6));
    file.set("llama.attention.sliding_window", u32_value(48));
    file.set("tokenizer.ggml.eos_token_id", u32_value(3));
    let checkpoint = file.open().unwrap();
    assert_eq!((checkpoint.hyper().head_dim, checkpoint.hyper().context), (6, 48));
    let TextSource::Gguf(text) = checkpoint.text() else { panic!("not GGUF's text") };
    assert_eq!(text.eos, None, "an id past the vocabulary");
}

#[test]
fn rope_scaling_is_read_in_every_form() {
    let scaled = |pairs: &[(&str, crate::write::Encoded)]| {
        let mut file = Gguf::tiny();
        for (key, value) in pairs {
            file.set(&format!("llama.rope.{key}"), value.clone());
        }
        file.open().unwrap().hyper().rope_scaling.clone()
    };
    let linear = RopeScaling::Linear { factor: 4.0 };
    assert_eq!(scaled(&[("scaling.type", text("linear")), ("scaling.factor", f32_value(4.0))]), linear);
    assert_eq!(scaled(&[("scaling.factor", f32_value(4.0))]), linear);
    assert_eq!(scaled(&[("scale_linear", f32_value(4.0))]), linear);
    assert_eq!(scaled(&[("scaling.type", text("none")), ("scaling.factor", f32_value(4.0))]), RopeScaling::None);
    let yarn = |original_context, attention_factor| RopeScaling::Yarn {
        factor: 4.0,
        original_context,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor,
    };
    let pairs = [("scaling.type", text("yarn")), ("scaling.factor", f32_value(4.0))];
    assert_eq!(scaled(&pairs), yarn(64.0, None));
    let more = [pairs.to_vec(), vec![("scaling.original_context_length", u32_value(16))]].concat();
    assert_eq!(scaled(&more), yarn(16.0, None));
    let more = [pairs.to_vec(), vec![("scaling.attn_factor", f32_value(0.5))]].concat();
    assert_eq!(scaled(&more), yarn(64.0, Some(0.5 * (1.0 + 0.1 * 4_f64.ln()))));

    let mut file = Gguf::tiny();
    file.add("rope_freqs.weight", &[2]);
    file.tensors.last_mut().unwrap().data = [1_f32, 8.0].map(f32::to_le_bytes).concat();
    let checkpoint = file.open().unwrap();
    assert_eq!(checkpoint.hyper().rope_scaling, RopeScaling::Factors(vec![1.0, 8.0]));
    assert!(checkpoint.tensor("rope_freqs.weight").is_none(), "read already");
}

#[test]
fn hostile_parameters_are_refused() {
    type Change = fn(&mut Gguf);
    let cases: &[(&str, Change)] = &[
        ("`mamba` is not supported; supported: llama (Llama 2 and 3,", |f| {
            f.set("general.architecture", text("mamba"))
        }),
        ("`general.architecture` is missing", |f| f.remove("general.architecture")),
        ("key `general.architecture` is Unsigned(1)", |f| f.set("general.architecture", u32_value(1))),
        ("layer count 0", |f| f.set("llama.block_count", u32_value(0))),
        ("`llama.block_count` is missing", |f| f.remove("llama.block_count")),
        ("layer count 4294967295", |f| f.set("llama.block_count", u32_value(u32::MAX))),
        ("a whole number is needed", |f| f.set("llama.block_count", (11, (-1_i64).to_le_bytes().to_vec()))),
        ("a whole number is needed", |f| f.set("llama.attention.head_count", integers(&[2, 2]))),
        ("attention head count 0", |f| f.set("llama.attention.head_count", u32_value(0))),
        ("key-value head count 0", |f| f.set("llama.attention.head_count_kv", u32_value(0))),
        ("2 heads cannot share 3 key-value heads", |f| f.set("llama.attention.head_count_kv", u32_value(3))),
        ("must be even", |f| f.set("llama.attention.key_length", u32_value(5))),
        ("rotated dimensions 6", |f| f.set("llama.rope.dimension_count", u32_value(6))),
        ("value head dimension", |f| f.set("llama.attention.value_length", u32_value(6))),
        ("context length 0", |f| f.set("llama.context_length", u32_value(0))),
        ("norm epsilon NaN", |f| f.set("llama.attention.layer_norm_rms_epsilon", f32_value(f32::NAN))),
        ("rope base inf", |f| f.set("llama.rope.freq_base", f32_value(f32::INFINITY))),
        ("rope scaling value -2", |f| f.set("llama.rope.scaling.factor", f32_value(-2.0))),
        ("rope scaling `longrope`", |f| f.set("llama.rope.scaling.type", text("longrope"))),
        ("1 rope factors for 4 rotated dimensions", |f| f.add("rope_freqs.weight", &[1])),
        ("mixture of experts `8`", |f| f.set("llama.expert_count", u32_value(8))),
        ("one part of a split file", |f| f.set("split.count", (2, 2_u16.to_le_bytes().to_vec()))),
        ("shape [3, 8]; [3, 16] was declared", |f| f.set("llama.embedding_length", u32_value(16))),
        ("no token embedding", |f| drop(f.tensors.remove(0))),
        ("4 tokens for an embedding of 3 rows", |f| f.set("tokenizer.ggml.tokens", texts(&["a", "b", "c", "d"]))),
        ("2 scores for 3 tokens", |f| f.set("tokenizer.ggml.scores", floats(&[0.0, 1.0]))),
        ("2 token types for 3 tokens", |f| f.set("tokenizer.ggml.token_type", integers(&[1, 1]))),
        ("a list of texts is needed", |f| f.set("tokenizer.ggml.tokens", floats(&[1.0]))),
    ];
    for (expected, change) in cases {
        let mut file = Gguf::tiny();
        change(&mut file);
        assert_refused(expected, file.open(), expected);
    }
}

#[test]
fn hostile_containers_are_refused() {
    type Change = fn(&mut Gguf);
    let cases: &[(&str, Change)] = &[
        ("GGUF version `1`", |f| f.version = 1),
        ("GGUF version `4`", |f| f.version = 4),
        ("GGUF version `big-endian`", |f| f.version = 3_u32.swap_bytes()),
        ("tensors are announced; the file has room for", |f| f.tensor_count = Some(u64::MAX)),
        ("metadata pairs are announced; the file has room for", |f| f.pair_count = Some(u64::MAX / 2)),
        ("array elements are announced", |f| f.set("x", array(4, u64::MAX, vec![]))),
        ("array elements are announced", |f| f.set("tokenizer.ggml.tokens", array(8, 1 << 60, vec![]))),
        ("array of arrays", |f| f.set("x", array(9, 1, array(4, 1, vec![0; 4]).1))),
        ("elements of unknown type 13", |f| f.set("x", array(13, 1, vec![0; 8]))),
        ("value type 99", |f| f.set("x", (99, vec![0; 8]))),
        ("but the file ends at", |f| f.set("x", (8, u64::MAX.to_le_bytes().to_vec()))),
        ("over the limit of 65535", |f| f.pairs.push(("k".repeat(70_000), u32_value(1)))),
        ("key `llama.block_count` is there twice", |f| f.pairs.push(("llama.block_count".to_owned(), u32_value(1)))),
        ("is not a power of two", |f| f.set("general.alignment", u32_value(0))),
        ("is not a power of two", |f| f.set("general.alignment", u32_value(48))),
        ("is not a power of two", |f| f.set("general.alignment", text("32"))),
        ("over the limit of 255", |f| f.tensors[1].name = "n".repeat(256)),
        ("tensor `token_embd.weight` is there twice", |f| f.tensors[1].name = "token_embd.weight".to_owned()),
        ("tensor type `4 (of `output_norm.weight`)", |f| f.tensors[1].kind = 4),
        ("supported: F32, F16, BF16, Q4_0", |f| f.tensors[1].kind = u32::MAX),
        ("are not whole Q4_0 blocks of 32", |f| f.tensors[1].kind = 2),
        ("0 dimensions", |f| f.tensors[1].dimensions = vec![]),
        ("5 dimensions", |f| f.tensors[1].dimensions = vec![1; 5]),
        ("impossible dimensions", |f| f.tensors[1].dimensions = vec![8, 0]),
        ("impossible dimensions", |f| f.tensors[1].dimensions = vec![1 << 40, 1 << 40]),
        ("impossible dimensions", |f| f.tensors[1].dimensions = vec![u64::MAX, u64::MAX, 2]),
        ("lies past the end", |f| f.tensors[1].dimensions = vec![1 << 62]),
        ("lies past the end", |f| f.tensors[1].dimensions = vec![u64::MAX]),
        ("lies past the end", |f| f.tensors[1].offset = Some(1 << 40)),
        ("lies past the end", |f| f.tensors[1].offset = Some(u64::MAX - 31)),
        ("offset 1 is not a multiple of the alignment 32", |f| f.tensors[1].offset = Some(1)),
        ("overlap", |f| f.tensors[1].offset = Some(0)),
        ("overlap", |f| f.tensors[1].offset = Some(64)),
    ];
    for (expected, change) in cases {
        let mut file = Gguf::tiny();
        change(&mut file);
        assert_refused(expected, file.open(), expected);
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = Gguf::tiny().bytes();
    assert!(open_bytes(&bytes).is_ok());
    let folder = TempDir::new().unwrap();
    for length in 0..bytes.len() {
        let result = open_in(&folder, &bytes[..length]);
        assert!(matches!(result, Err(Error::Malformed { .. } | Error::Unsupported { .. })), "cut at {length}");
    }
}

#[test]
fn no_flipped_byte_makes_a_panic_or_a_read_outside() {
    let valid = Gguf::tiny().bytes();
    let folder = TempDir::new().unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let mut bytes = valid.clone();
        for _ in 0..=random.below(4) {
            let value = [0, 1, 0x7f, 0x80, 0xff, random.below(256) as u8][random.below(6)];
            bytes[random.below(valid.len())] = value;
        }
        match open_in(&folder, &bytes) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() < 1_000, "{error}");
            }
            Ok(checkpoint) => {
                opened += 1;
                let names: Vec<String> = checkpoint.tensors().map(|info| info.name.clone()).collect();
                for name in names {
                    assert!(checkpoint.read(&name).unwrap().len() <= valid.len());
                }
            }
        }
    }
    assert!(opened > 100 && refused > 100, "{opened} opened, {refused} refused: the mutations say little");
}

#[test]
fn pickles_and_other_formats_are_named_whatever_the_file_is_called() {
    let mut tar = vec![0_u8; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let cases: &[(&[u8], &str)] = &[
        (b"\x80\x02}q\x00(X\x03\x00\x00\x00abc", "Python pickle"),
        (b"\x80\x04\x95\x00\x00\x00\x00", "Python pickle"),
        (b"cos\nsystem\n(S'true'\ntR.", "Python pickle"),
        (b"(lp0\n.", "Python pickle"),
        (b"PK\x03\x04\x00\x00archive/data.pkl", "zip archive"),
        (&tar, "tar archive"),
        (b"\x1f\x8b\x08\x00", "gzip archive"),
        (b"tjgg\x03\x00\x00\x00", "GGML file from before GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":", "single safetensors file"),
        (b"hello", "does not begin with `GGUF`"),
        (b"", "does not begin with `GGUF`"),
    ];
    for (bytes, expected) in cases {
        let result = open_bytes(bytes);
        assert!(matches!(result, Err(Error::Unsupported { .. })), "{expected}");
        assert_refused(expected, result, expected);
    }
}

#[test]
fn a_file_that_is_missing_cut_or_deleted_is_an_error_and_not_a_fault() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    assert!(matches!(Checkpoint::open(&path), Err(Error::Io { .. })));

    let bytes = Gguf::tiny().bytes();
    std::fs::write(&path, &bytes).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 - 1).unwrap();
    assert!(checkpoint.read("token_embd.weight").is_ok(), "what is still there is read");
    let error = checkpoint.read("blk.0.ffn_down.weight").unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().contains("cut short"), "{error}");
    file.set_len(0).unwrap();
    assert!(matches!(checkpoint.read("token_embd.weight"), Err(Error::Io { .. })));

    std::fs::write(&path, &bytes).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    if let Err(error) = checkpoint.read("token_embd.weight") {
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
    assert!(matches!(Checkpoint::open(&path), Err(Error::Io { .. })));
}

/// Writes `model` and makes the file `length` bytes long, with nothing on disk behind the model.
fn sparse(folder: &TempDir, model: &Gguf, length: u64) -> PathBuf {
    let path = folder.path().join("model.gguf");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&model.bytes()).unwrap();
    file.set_len(length).unwrap();
    path
}

#[test]
fn claims_inside_a_huge_sparse_file_take_no_memory() {
    let folder = TempDir::new().unwrap();
    let mut model = Gguf::tiny();
    model.tensors[1].dimensions = vec![1 << 37];
    model.tensors[1].offset = Some(1 << 20);
    let checkpoint = Checkpoint::open(&sparse(&folder, &model, 1 << 40)).unwrap();
    assert_eq!(checkpoint.tensor("output_norm.weight").unwrap().shape, [1 << 37], "and nothing of it is read");

    let mut model = Gguf::tiny();
    model.set("general.description", (8, (1_u64 << 32).to_le_bytes().to_vec()));
    assert_refused("4 GB of text", Checkpoint::open(&sparse(&folder, &model, 1 << 40)), "past the limit of 268435456");
    let mut model = Gguf::tiny();
    model.set("tokenizer.ggml.tokens", array(8, 1 << 36, vec![]));
    assert_refused("2^36 tokens", Checkpoint::open(&sparse(&folder, &model, 1 << 40)), "over the limit of 4194304");
    let model = Gguf { tensor_count: Some(1 << 30), ..Gguf::tiny() };
    assert_refused("2^30 tensors", Checkpoint::open(&sparse(&folder, &model, 1 << 40)), "over the limit of 65536");
    let model = Gguf { pair_count: Some(1 << 30), ..Gguf::tiny() };
    assert_refused("2^30 pairs", Checkpoint::open(&sparse(&folder, &model, 1 << 40)), "over the limit of 65536");
}
