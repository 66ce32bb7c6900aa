//! Images: labels and objects as other implementations find them, and images that would do harm.

use crate::sample::{fetched, fixture, folder, load, refusal, small};
use image::{DynamicImage, ImageFormat, RgbImage};
use orrery_predict::{Answer, Class, ImageLimits, Input, Model, Object, Settings};
use serde_json::{Value, json};
use std::io::Cursor;
use tempfile::TempDir;

fn encoded(image: RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

fn colors() -> TempDir {
    small("pixels", &json!({"task": "image-classification", "labels": ["red", "green", "blue"]}))
}

fn classes(model: &Model, images: Vec<Vec<u8>>) -> orrery_predict::Result<Vec<Vec<Class>>> {
    match model.predict_blocking(Input::Images(images), None)? {
        Answer::Classes(classes) => Ok(classes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_format_and_size() {
    let model = load(&colors(), &Settings::default()).expect("it loads");
    for (width, height) in [(1, 1), (4, 4), (3, 500), (500, 3)] {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::WebP] {
            let blue = encoded(RgbImage::from_pixel(width, height, image::Rgb([0, 0, 255])), format);
            let found = classes(&model, vec![blue]).expect("computed");
            assert!(found[0][0].label == "blue" && found[0][0].score > 0.95, "{format:?} {width}×{height}: {found:?}");
        }
    }
}

#[test]
fn images_that_would_do_harm_are_refused() {
    let limits = ImageLimits { bytes_max: 100_000, pixels_max: 1_000_000, side_max: 2_000 };
    let model = load(&colors(), &Settings { images: limits, ..Settings::default() }).expect("it loads");
    let png = |width, height| encoded(RgbImage::new(width, height), ImageFormat::Png);
    // The header alone claims more: no pixel is unpacked.
    let mut bomb = png(1, 1);
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    for (bytes, part) in [
        (png(1_500, 1_500), "1500 × 1500 pixels"),
        (png(2_001, 1), "2000 a side"),
        (bomb, "65536 × 65536 pixels"),
        (vec![0; 100_001], "at most 100000 are read"),
        (b"%PDF-1.7".to_vec(), "send PNG, JPEG"),
        (Vec::new(), "send PNG, JPEG"),
        (png(8, 8)[..50].to_vec(), "cannot be decoded"),
    ] {
        let good = png(1, 1);
        let message = refusal(classes(&model, vec![good, bytes]));
        assert!(message.contains("image 1: ") && message.contains(part), "{message}");
    }
}

/// A small file becomes an input of the model's size.
#[test]
fn more_images_than_may_be_unpacked_are_refused() {
    let settings = Settings { request_bytes_max: 4 * 4 * 3 * 5, batch_max: 2, ..Settings::default() };
    let model = load(&colors(), &settings).expect("it loads");
    let dot = encoded(RgbImage::from_pixel(1, 1, image::Rgb([255, 0, 0])), ImageFormat::Png);
    assert_eq!(classes(&model, vec![dot.clone(); 5]).expect("computed").len(), 5);
    assert!(refusal(classes(&model, vec![dot; 6])).contains("at most 5 at once"));
}

/// PNG's check sum (RFC 1952's CRC-32).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

/// Of a film only the first picture is read, however many there are.
#[test]
fn a_film_is_its_first_picture() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut bytes, 30);
    for place in 0..2_000 {
        let color = if place == 0 { [255, 0, 0, 255] } else { [0, 255, 0, 255] };
        let frame = image::Frame::new(image::RgbaImage::from_pixel(8, 8, image::Rgba(color)));
        encoder.encode_frame(frame).expect("encoded");
    }
    drop(encoder);
    let model = load(&colors(), &Settings::default()).expect("it loads");
    assert_eq!(classes(&model, vec![bytes]).expect("computed")[0][0].label, "red");
}

fn fetched_artefact(name: &str, fields: &Value) -> TempDir {
    folder(&[("model.onnx", std::fs::read(fetched(name)).expect("read"))], fields)
}

#[test]
fn labels_equal_the_oracle() {
    let nsfw = json!({
        "task": "image-classification", "labels": ["sfw", "nsfw"], "outputs": {"probabilities": "outputs"},
        "pipeline": {"image": {"size": [224, 224], "resize": "stretch", "resize_to": 256, "filter": "bilinear",
            "layout": "nhwc", "channels": "bgr", "mean": [104, 117, 123]}},
    });
    let orientation = json!({
        "task": "image-classification", "labels": ["0", "90", "180", "270"], "outputs": {"probabilities": "fetch_name_0"},
        "pipeline": {"image": {"size": [224, 224], "resize": "crop", "resize_to": 256, "filter": "lanczos",
            "scale": 0.003_921_569, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
    });
    let expected: Value = serde_json::from_slice(&fixture("classes.json")).expect("JSON");
    for (key, file, fields) in [("nsfw", "nsfw.onnx", nsfw), ("orientation", "orientation.onnx", orientation)] {
        let model = load(&fetched_artefact(file, &fields), &Settings::default()).expect("it loads");
        for picture in ["waves.png", "page.png"] {
            let found = classes(&model, vec![fixture(picture)]).expect("computed").remove(0);
            for (place, label) in model.manifest().labels.iter().enumerate() {
                let wanted = expected[picture][key][place].as_f64().expect("a number") as f32;
                let score = found.iter().find(|class| class.label == *label).expect("each label").score;
                assert!((score - wanted).abs() < 1e-4, "{key} {picture} {label}: {score}, expected was {wanted}");
            }
        }
    }
}

pub fn layout() -> TempDir {
    let levels =
        |first: usize| (0..4).map(|level| format!("transpose_{}.tmp_0", first + 2 * level)).collect::<Vec<_>>();
    let fields = json!({
        "task": "object-detection",
        "labels": ["text", "title", "figure", "figure_caption", "table", "table_caption", "header", "footer", "reference",
            "equation"],
        "pipeline": {
            "image": {"size": [800, 608], "channels": "bgr", "scale": 0.003_921_569,
                "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            "detection": {"decoder": "picodet", "strides": [8, 16, 32, 64], "scores": levels(0), "boxes": levels(1),
                "threshold": 0.5, "overlap": 0.5},
        },
    });
    fetched_artefact("layout.onnx", &fields)
}

#[test]
fn objects_equal_the_oracle() {
    let model = load(&layout(), &Settings::default()).expect("it loads");
    let answer = model.predict_blocking(Input::Images(vec![fixture("page.png")]), None).expect("computed");
    let Answer::Objects(mut pages) = answer else { panic!("{answer:?}") };
    let found: Vec<Object> = pages.remove(0);
    let expected: Vec<Value> = serde_json::from_slice(&fixture("layout.json")).expect("JSON");
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (object, wanted) in found.iter().zip(&expected) {
        assert_eq!(object.label, wanted["label"].as_str().expect("a label"));
        let near =
            |left: f32, right: &Value, within: f32| (left - right.as_f64().expect("a number") as f32).abs() < within;
        assert!(near(object.score, &wanted["score"], 1e-4), "{object:?}, expected was {wanted}");
        for (place, bound) in object.bounds.iter().enumerate() {
            assert!(near(*bound, &wanted["bounds"][place], 0.05), "{object:?}, expected was {wanted}");
        }
    }
}
