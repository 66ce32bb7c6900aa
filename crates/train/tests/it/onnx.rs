//! The container, read back by a reader of its own.

use orrery_train::onnx::{Dim, Element, Graph, Setting};

/// The top-level fields of a message: (number, wire type, payload).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a byte");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let payload = match key & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (payload, rest) = bytes.split_at(length);
                bytes = rest;
                payload.to_vec()
            }
            5 => {
                let (payload, rest) = bytes.split_at(4);
                bytes = rest;
                payload.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, payload));
    }
    found
}

fn all(fields: &[(u64, Vec<u8>)], number: u64) -> Vec<&[u8]> {
    fields.iter().filter(|field| field.0 == number).map(|field| field.1.as_slice()).collect()
}

#[test]
fn a_graph_has_its_parts_under_the_numbers_of_the_format() {
    let mut graph = Graph::new("double");
    let x = graph.input("x", Element::F32, &[Dim::Batch, Dim::Fixed(2)]);
    let two = graph.floats(&[1], &[2.0]);
    let y = graph.node("Mul", &[&x, &two], &[("unused", Setting::Int(3))]);
    graph.output(&y, "y", Element::F32, &[Dim::Batch, Dim::Fixed(2)]);
    let model = fields(&graph.finish(&[("task", "test")]));

    assert_eq!(all(&model, 2), [b"orrery"]);
    let graph = fields(all(&model, 7)[0]);
    let names: Vec<_> = all(&graph, 1).iter().map(|node| all(&fields(node), 4).concat()).collect();
    assert_eq!(names, [b"Mul".to_vec(), b"Identity".to_vec()]);
    let constant = fields(all(&graph, 5)[0]);
    assert_eq!(all(&constant, 9), [2.0_f32.to_le_bytes()]);
    assert_eq!(all(&constant, 2)[0][0], 1);
    assert_eq!(all(&fields(all(&graph, 11)[0]), 1), [b"x"]);
    assert_eq!(all(&fields(all(&graph, 12)[0]), 1), [b"y"]);
    let note = fields(all(&model, 14)[0]);
    assert_eq!((all(&note, 1), all(&note, 2)), (vec![&b"task"[..]], vec![&b"test"[..]]));
}
