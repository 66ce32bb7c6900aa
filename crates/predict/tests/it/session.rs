//! Tensors through ONNX Runtime: all types, exact checks.

use crate::sample::{load, refusal, small};
use half::{bf16, f16};
use orrery_predict::{Data, DataType, Error, Model, Pending, Request, Settings, Tensor};
use serde_json::json;

pub fn tensor(name: &str, shape: impl Into<Vec<usize>>, data: Data) -> Tensor {
    Tensor::new(name, shape, data).expect("a tensor")
}

pub fn run(model: &Model, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
    model.submit(Request { inputs, ..Request::default() }).and_then(Pending::wait)
}

fn pairs() -> Vec<(&'static str, Data)> {
    vec![
        ("BOOL", Data::Bool(vec![true, false])),
        ("UINT8", Data::Uint8(vec![0, 255])),
        ("UINT16", Data::Uint16(vec![1, u16::MAX])),
        ("UINT32", Data::Uint32(vec![1, u32::MAX])),
        ("UINT64", Data::Uint64(vec![1, u64::MAX])),
        ("INT8", Data::Int8(vec![-128, 127])),
        ("INT16", Data::Int16(vec![i16::MIN, 1])),
        ("INT32", Data::Int32(vec![i32::MIN, 1])),
        ("INT64", Data::Int64(vec![i64::MIN, i64::MAX])),
        ("FLOAT16", Data::Fp16(vec![f16::from_f32(1.5), f16::MAX])),
        ("BFLOAT16", Data::Bf16(vec![bf16::from_f32(-2.0), bf16::MAX])),
        ("FLOAT", Data::Fp32(vec![f32::MIN_POSITIVE, -0.0])),
        ("DOUBLE", Data::Fp64(vec![f64::MAX, 0.1])),
        ("STRING", Data::Bytes(vec!["ünï".into(), String::new()])),
    ]
}

#[test]
fn every_type_goes_through_unchanged() {
    let model = load(&small("types", &json!({})), &Settings::default()).expect("it loads");
    let inputs = pairs().into_iter().map(|(name, data)| tensor(&format!("in_{name}"), [1, 2], data)).collect();
    let outputs = run(&model, inputs).expect("computed");
    let covered: std::collections::BTreeSet<DataType> = outputs.iter().map(Tensor::dtype).collect();
    assert_eq!(covered.len(), DataType::ALL.len());
    for (output, (name, data)) in outputs.iter().zip(pairs()) {
        assert_eq!((output.name(), output.shape()), (&*format!("out_{name}"), &[1, 2][..]));
        assert_eq!(*output.data(), data, "{name}");
    }
}

#[test]
fn bytes_and_back() {
    for (name, data) in pairs() {
        match data.to_le_bytes() {
            Some(bytes) => {
                assert_eq!(Data::from_le_bytes(data.dtype(), &bytes), Some(data.clone()), "{name}");
                let odd = [&bytes[..], &[9]].concat();
                let divides = data.dtype().element_bytes() == Some(1) && data.dtype() != DataType::Bool;
                assert_eq!(Data::from_le_bytes(data.dtype(), &odd).is_some(), divides, "{name}");
            }
            None => assert_eq!(data.dtype(), DataType::Bytes),
        }
        assert_eq!(DataType::from_name(data.dtype().name()), Some(data.dtype()));
    }
    assert_eq!(Data::Int32(vec![1, -2]).to_le_bytes(), Some(vec![1, 0, 0, 0, 254, 255, 255, 255]));
}

#[test]
fn what_does_not_fit_is_named() {
    let model = load(&small("regression", &json!({})), &Settings::default()).expect("it loads");
    let a = || tensor("a", [1, 1], Data::Fp32(vec![1.0]));
    let b = |data, shape: &[usize]| tensor("b", shape, data);
    let good = b(Data::Fp32(vec![2.0]), &[1, 1]);
    for (inputs, wanted) in [
        (vec![a()], ["`b`", "missing"]),
        (vec![a(), good.clone(), tensor("c", [1], Data::Fp32(vec![0.0]))], ["`c`", "no such input"]),
        (vec![a(), a(), good.clone()], ["`a`", "twice"]),
        (vec![a(), b(Data::Fp64(vec![2.0]), &[1, 1])], ["`b`", "FP64, the model takes FP32"]),
        (vec![a(), b(Data::Fp32(vec![2.0]), &[1])], ["`b`", "the shape is [1], the model takes [-1, 1]"]),
        (vec![a(), b(Data::Fp32(vec![2.0, 3.0]), &[1, 2])], ["`b`", "the shape is [1, 2]"]),
    ] {
        let message = refusal(run(&model, inputs));
        assert!(wanted.iter().all(|part| message.contains(part)), "{message}");
    }
    assert!(refusal(Tensor::new("t", [2, 3], Data::Fp32(vec![0.0; 5]))).contains("[2, 3] holds 6 elements, but 5"));
    assert!(refusal(Tensor::new("t", [usize::MAX, 2], Data::Fp32(vec![]))).contains("too many"));
    let request = Request { inputs: vec![a(), good], outputs: vec!["y".into()], deadline: None };
    assert!(refusal(model.submit(request)).contains("no such output"));
    // What the graph itself refuses: the two have different rows.
    let two = tensor("a", [2, 1], Data::Fp32(vec![1.0, 2.0]));
    assert!(matches!(run(&model, vec![two, b(Data::Fp32(vec![2.0]), &[1, 1])]), Err(Error::Run(_))));
    let numbers = run(&model, vec![b(Data::Fp32(vec![2.0]), &[1, 1]), a()]).expect("any order");
    assert_eq!(*numbers[0].data(), Data::Fp32(vec![9.0]));
}

#[test]
fn text_with_a_nul_and_too_much_at_once_are_refused() {
    let settings = Settings { request_bytes_max: 400, ..Settings::default() };
    let model = load(&small("text", &json!({})), &settings).expect("it loads");
    let text = |text: &str| vec![tensor("text", [1, 1], Data::Bytes(vec![text.into()]))];
    assert!(refusal(run(&model, text("a\0b"))).contains("NUL"));
    assert!(refusal(run(&model, text(&"x".repeat(400)))).contains("at most 400"));
    assert!(run(&model, text("good")).is_ok());
}

#[test]
fn only_the_outputs_that_are_wanted() {
    let model = load(&small("classification", &json!({})), &Settings::default()).expect("it loads");
    let inputs = vec![
        tensor("size", [2, 1], Data::Fp32(vec![1.0, -3.0])),
        tensor("color", [2, 1], Data::Bytes(vec!["red".into(), "blue".into()])),
    ];
    let request = Request { inputs, outputs: vec!["label".into()], deadline: None };
    let outputs = model.submit(request).and_then(Pending::wait).expect("computed");
    assert_eq!(outputs, [tensor("label", [2], Data::Bytes(vec!["big".into(), "small".into()]))]);
}

/// A loop that would go on for ages is ended, and the model serves on.
#[test]
fn a_run_that_does_not_end_is_ended() {
    let settings = Settings { run_ms_max: 200, ..Settings::default() };
    let model = load(&small("loop", &json!({})), &settings).expect("it loads");
    let turns = |count: i64| run(&model, vec![tensor("turns", [], Data::Int64(vec![count]))]);
    assert_eq!(*turns(5).expect("computed")[0].data(), Data::Int64(vec![5]));
    let message = refusal(turns(i64::MAX));
    assert!(message.contains("longer than 200 ms (`run_ms_max`)"), "{message}");
    assert_eq!(*turns(3).expect("computed")[0].data(), Data::Int64(vec![3]));
}
