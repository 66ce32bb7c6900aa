//! Safetensors files that break the format are refused (THREATS A5, A7).

use crate::write::{Random, assert_refused, put, safetensors, safetensors_of, tiny_folder, tiny_tensors};
use orrery_model::Error;
use orrery_model::weights::Checkpoint;

fn open_with(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tiny_folder();
    put(folder.path(), "model.safetensors", bytes);
    Checkpoint::open(folder.path())
}

/// A header of two F32 tensors at these offsets.
fn two(first: [u64; 2], second: [u64; 2]) -> String {
    format!(
        r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{first:?}}},
            "b":{{"dtype":"F32","shape":[2],"data_offsets":{second:?}}}}}"#
    )
}

#[test]
fn broken_files_are_refused() {
    let one = |dtype: &str, shape: &str, end: u64| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        ("overlaps", two([0, 8], [4, 12]), 12),
        ("overlaps", two([0, 8], [0, 8]), 8),
        ("leaves a gap", two([0, 8], [12, 20]), 20),
        ("leaves a gap", two([4, 12], [12, 20]), 20),
        ("bytes trail the tensors", two([0, 8], [8, 16]), 17),
        ("the file is cut short", two([0, 8], [8, 16]), 15),
        ("do not hold its 8 bytes", two([0, 9], [9, 17]), 17),
        ("do not hold its 8 bytes", two([8, 0], [0, 8]), 8),
        ("do not hold", one("F32", "[9007199254740991]", 8), 8),
        ("impossible type F32 or shape", one("F32", "[4611686018427387903]", 8), 8),
        ("impossible type F32 or shape", one("F32", "[9223372036854775807,4]", 8), 8),
        ("impossible type X99", one("X99", "[2]", 8), 8),
        ("impossible type F4 or shape", one("F4", "[3]", 2), 2),
        ("safetensors data type `F64 (of `a`)", one("F64", "[1]", 8), 8),
        ("empty shape [0, 4]", one("F32", "[0,4]", 0), 0),
        ("safetensors header", one("F32", "[-1]", 4), 4),
        ("safetensors header", "[]".to_owned(), 0),
        ("safetensors header", "{".to_owned(), 0),
        ("safetensors header", deep, 0),
        ("is there twice", r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#.to_owned(), 2),
        ("no token embedding", one("F32", "[2]", 8), 8),
    ];
    for (expected, header, data) in cases {
        // Tied, so that the last case is not refused for its missing head.
        let folder = tiny_folder();
        let config = crate::write::tiny_config().to_string().replacen('{', r#"{"tie_word_embeddings":true,"#, 1);
        put(folder.path(), "config.json", config.as_bytes());
        put(folder.path(), "model.safetensors", &safetensors(&header, &vec![0; data]));
        assert_refused(&header[..header.len().min(200)], Checkpoint::open(folder.path()), expected);
    }
}

#[test]
fn header_lengths_are_held_against_the_file() {
    for length in [u64::MAX, 1 << 62, 100_000_001, 3] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert_refused(&length.to_string(), open_with(&bytes), "header of");
    }
    let over = (16_u64 << 20) + 1;
    let spaces = vec![b' '; over as usize];
    assert_refused(
        "over 16 MiB",
        open_with(&[&over.to_le_bytes()[..], &spaces].concat()),
        "at most 16777216 are possible",
    );
    let row = |index| format!("\"t{index}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    let rows = (0..=1 << 16).map(row).collect::<Vec<_>>().join(",");
    assert_refused("rows", open_with(&safetensors(&format!("{{{rows}}}"), b"")), "over 65536 tensors");
    assert_refused("empty", open_with(b""), "too short");
    assert_refused("7 bytes", open_with(&[0; 7]), "too short");
}

#[test]
fn a_pickle_with_a_safetensors_name_is_named() {
    let pickle = b"\x80\x02}q\x00(X\x03\x00\x00\x00abcK\x01u.";
    let result = open_with(pickle);
    assert!(matches!(result, Err(Error::Unsupported { .. })));
    assert_refused("pickle", result, "Python pickle");
    assert_refused("zip", open_with(b"PK\x03\x04\x14\x00\x00\x08archive/data.pkl"), "zip archive");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = safetensors_of(&tiny_tensors());
    assert!(open_with(&bytes).is_ok());
    for length in (0..bytes.len()).step_by(7).chain(bytes.len() - 3..bytes.len()) {
        assert!(matches!(open_with(&bytes[..length]), Err(Error::Malformed { .. })), "cut at {length}");
    }
}

#[test]
fn no_flipped_byte_makes_a_panic_or_a_read_outside() {
    let valid = safetensors_of(&tiny_tensors());
    let header = 8 + u64::from_le_bytes(valid[..8].try_into().unwrap()) as usize;
    let folder = tiny_folder();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let mut bytes = valid.clone();
        for _ in 0..=random.below(2) {
            let value = [b'0', b'9', b'"', b',', b'}', random.below(256) as u8][random.below(6)];
            bytes[random.below(header)] = value;
        }
        put(folder.path(), "model.safetensors", &bytes);
        match Checkpoint::open(folder.path()) {
            Err(_) => refused += 1,
            Ok(checkpoint) => {
                opened += 1;
                for info in checkpoint.tensors() {
                    assert!(checkpoint.read(&info.name).unwrap().len() <= valid.len());
                }
            }
        }
    }
    assert!(opened > 20 && refused > 100, "{opened} opened, {refused} refused: the mutations say little");
}
