//! Same bits, always: whole or chunked, alone or batched, on every instruction set and number of threads.

use crate::support::{bits, fixture, fixtures, load, load_on, step, whole};
use orrery_kernels::isa::Isa;
use orrery_model::{Batch, BlockCopy, Span};

/// Long enough for a second attention split.
const LONG: usize = 300;

fn long(tokens: &[u32]) -> Vec<u32> {
    tokens.iter().copied().cycle().take(LONG).enumerate().map(|(index, token)| (token + index as u32) % 256).collect()
}

/// Blocks of a sequence, out of order.
fn scattered(first: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|block| first + (block * 7 + 3) % count as u32).collect()
}

#[test]
fn chunked_is_whole() {
    for name in ["llama-q4_k_m", "llama-q3_k_m", "qwen2-bf16", "qwen3-q4_0"] {
        let fixture = fixture(name);
        let mut model = load(&fixture.path);
        let tokens = long(&fixture.tokens);
        let wanted = bits(&whole(&mut model, &tokens));
        for sizes in [&[1, 2, 3, 4, 17, 64][..], &[256, 1], &[32], &[7]] {
            let mut cache = model.kv_cache(10).unwrap();
            let blocks = scattered(0, 10);
            let (mut found, mut position) = (Vec::new(), 0);
            for &size in sizes.iter().cycle() {
                let chunk = &tokens[position..(position + size).min(LONG)];
                found.extend(bits(&step(&mut model, &mut cache, &[(chunk, position, &blocks)])));
                position += chunk.len();
                if position == LONG {
                    break;
                }
            }
            assert!(found == wanted, "{name} in chunks of {sizes:?}");
        }
    }
}

#[test]
fn batched_is_alone() {
    for name in ["llama-q4_1", "llama-f16", "qwen3-f16", "mistral-iq4"] {
        let fixture = fixture(name);
        let mut model = load(&fixture.path);
        let vocabulary = fixture.vocabulary;
        let tokens = long(&fixture.tokens);
        let alone = bits(&whole(&mut model, &tokens[..100]));
        let other = bits(&whole(&mut model, &tokens[100..140]));
        let rows = |range: std::ops::Range<usize>| &alone[range.start * vocabulary..range.end * vocabulary];

        // A sequence in chunk and decode steps, beside another one's prompt, and a third that shares the first one's prefix.
        let mut cache = model.kv_cache(12).unwrap();
        let (first, second, third) = ([9, 2, 7, 4], [1, 5], [9, 2, 11, 3]);
        let found = bits(&step(&mut model, &mut cache, &[(&tokens[100..137], 0, &second), (&tokens[..70], 0, &first)]));
        assert!(
            found[..37 * vocabulary] == other[..37 * vocabulary] && found[37 * vocabulary..] == *rows(0..70),
            "{name}"
        );
        let parts: [(&[u32], usize, &[u32]); 3] =
            [(&tokens[64..100], 64, &third), (&tokens[70..71], 70, &first), (&tokens[137..138], 37, &second)];
        let found = bits(&step(&mut model, &mut cache, &parts));
        assert!(found[..36 * vocabulary] == *rows(64..100), "{name}: a cached prefix");
        assert!(found[36 * vocabulary..37 * vocabulary] == *rows(70..71), "{name}: a decode");
        assert!(found[37 * vocabulary..] == other[37 * vocabulary..38 * vocabulary], "{name}: another decode");
    }
}

#[test]
fn stored_rows_and_copied_blocks_give_the_same() {
    for name in ["llama-q4_1", "qwen3-f16"] {
        let fixture = fixture(name);
        let mut model = load(&fixture.path);
        let tokens = long(&fixture.tokens);
        let alone = bits(&whole(&mut model, &tokens[..100]));
        let mut cache = model.kv_cache(12).unwrap();
        step(&mut model, &mut cache, &[(&tokens[..70], 0, &[9, 2, 7])]);
        // Two sequences compute stored tokens of shared blocks again; a third one goes on from a copy of the last block.
        let spans = [(69..70, 1, [9, 2, 7]), (40..70, 30, [9, 2, 7]), (64..100, 6, [9, 2, 5])];
        let mut batch = Batch { copies: vec![BlockCopy { from: 7, to: 5 }], ..Batch::default() };
        let mut wanted: Vec<u32> = Vec::new();
        for (range, stored, blocks) in spans {
            let row = batch.tokens.len();
            let blocks = if range.end > 96 { [&blocks[..], &[11]].concat() } else { blocks.to_vec() };
            batch.spans.push(Span { row, count: range.len(), position: range.start, stored, blocks });
            batch.tokens.extend(&tokens[range.clone()]);
            wanted.extend(&alone[range.start * fixture.vocabulary..range.end * fixture.vocabulary]);
        }
        batch.logits_rows = (0..batch.tokens.len()).collect();
        assert_eq!(batch.check(fixture.vocabulary, model.context(), 12), Ok(()));
        let mut logits = Vec::new();
        model.forward(&batch, &mut cache, &mut logits);
        assert!(bits(&logits) == wanted, "{name}");
    }
}

#[test]
fn only_wanted_rows_have_logits() {
    let fixture = fixture("llama-q8_0");
    let mut model = load(&fixture.path);
    let all = whole(&mut model, &fixture.tokens);
    let mut batch = Batch {
        copies: Vec::new(),
        tokens: fixture.tokens.clone(),
        spans: vec![Span { row: 0, count: 48, position: 0, stored: 0, blocks: vec![0, 1] }],
        logits_rows: vec![3, 47],
    };
    let mut cache = model.kv_cache(2).unwrap();
    let mut logits = vec![1.0; 7];
    model.forward(&batch, &mut cache, &mut logits);
    let row = |index: usize| &all[index * fixture.vocabulary..][..fixture.vocabulary];
    assert_eq!(bits(&logits), bits(&[row(3), row(47)].concat()));
    batch.logits_rows.clear();
    model.forward(&batch, &mut cache, &mut logits);
    assert!(logits.is_empty());
}

#[test]
fn every_instruction_set_and_thread_count_is_scalar() {
    let threads = std::thread::available_parallelism().unwrap().get();
    for fixture in fixtures() {
        let prompt = |model: &mut _| bits(&whole(model, &fixture.tokens));
        // One row takes another kernel than many.
        let single = |model: &mut _| bits(&whole(model, &fixture.tokens[..1]));
        let mut scalar = load_on(&fixture.path, Some(Isa::Scalar), 1);
        let wanted = (prompt(&mut scalar), single(&mut scalar));
        for isa in Isa::available() {
            for threads in [1, threads] {
                let mut model = load_on(&fixture.path, Some(isa), threads);
                let found = (prompt(&mut model), single(&mut model));
                assert!(found == wanted, "{} on {} with {threads} threads", fixture.name, isa.name());
            }
        }
    }
}
