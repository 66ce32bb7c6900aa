//! Decoding and quantising against values frozen from the `gguf` Python package (fixtures/make_dequant.py).

use orrery_kernels::Error;
use orrery_kernels::quant::{Block, Format, decode_block, dequantize, quantize_q8_0};
use std::path::PathBuf;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/quant").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn floats(name: &str) -> Vec<f32> {
    fixture(name).chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap())).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_format_dequantises_as_the_gguf_package_does() {
    for format in Format::ALL {
        let blocks = fixture(&format!("{format}.blocks"));
        let expected = floats(&format!("{format}.values"));
        assert!(expected.len() >= 1024, "{format}");
        let mut values = vec![0.0; expected.len()];
        dequantize(format, &blocks, &mut values).unwrap();
        assert_eq!(bits(&values), bits(&expected), "{format}");
    }
}

#[test]
fn a_decoded_block_gives_the_weights_by_its_formula() {
    for format in Format::ALL {
        let blocks = fixture(&format!("{format}.blocks"));
        let expected = floats(&format!("{format}.values"));
        let mut block = Block { codes: [99; 256], scales: [f32::NAN; 16], mins: [f32::NAN; 16] };
        for (raw, expected) in blocks.chunks(format.block_bytes()).zip(expected.chunks(format.block_len())) {
            decode_block(format, raw, &mut block);
            for (index, expected) in expected.iter().enumerate() {
                let group = index / format.scale_len();
                let weight = block.scales[group] * f32::from(block.codes[index]) + block.mins[group];
                assert_eq!(weight.to_bits(), expected.to_bits(), "{format}, weight {index}");
            }
            if !format.has_min() {
                assert_eq!(bits(&block.mins), bits(&[-0.0; 16]), "{format}");
            }
        }
    }
}

#[test]
fn codes_span_the_range_that_the_format_has() {
    let ranges = [
        (Format::Q4_0, -8, 7),
        (Format::Q4_1, 0, 15),
        (Format::Q5_0, -16, 15),
        (Format::Q5_1, 0, 31),
        (Format::Q8_0, -128, 127),
        (Format::Q2_K, 0, 3),
        (Format::Q3_K, -4, 3),
        (Format::Q4_K, 0, 15),
        (Format::Q5_K, 0, 31),
        (Format::Q6_K, -32, 31),
        (Format::IQ4_NL, -127, 113),
        (Format::IQ4_XS, -127, 113),
    ];
    let quantised = Format::ALL.into_iter().filter(|format| !format.is_float()).count();
    assert_eq!(ranges.len(), quantised);
    for (format, low, high) in ranges {
        let mut block = Block::default();
        let mut seen = Vec::new();
        for raw in fixture(&format!("{format}.blocks")).chunks(format.block_bytes()) {
            decode_block(format, raw, &mut block);
            seen.extend_from_slice(&block.codes[..format.block_len()]);
        }
        assert_eq!((seen.iter().min(), seen.iter().max()), (Some(&low), Some(&high)), "{format}");
    }
}

#[test]
fn q8_0_quantises_as_the_gguf_package_does() {
    let values = floats("q8_0_input.values");
    let expected = fixture("q8_0_output.blocks");
    let mut blocks = vec![0; Format::Q8_0.bytes(values.len())];
    quantize_q8_0(&values, &mut blocks).unwrap();
    assert_eq!(blocks, expected);
}

#[test]
fn wrong_lengths_are_refused() {
    let mut out = [0.0; 32];
    assert_eq!(dequantize(Format::Q4_1, &[0; 19], &mut out), Err(Error::Length { what: "Q4_1", got: 19, want: 20 }));
    assert_eq!(
        dequantize(Format::Q4_K, &[0; 144], &mut out),
        Err(Error::Ragged { inputs: 32, block: 256, format: "Q4_K" })
    );
    assert!(dequantize(Format::F32, &[0; 124], &mut out).is_err());
    assert!(quantize_q8_0(&[0.0; 33], &mut [0; 68]).is_err());
    assert!(quantize_q8_0(&[0.0; 32], &mut [0; 33]).is_err());
}
