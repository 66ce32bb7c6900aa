//! Files as users send them, and as nobody should.

use std::io::{Cursor, Read, Write};

use orrery_train::Error;
use orrery_train::data::{Format, Kind, Limits, PictureSettings, Pictures, ReadSettings, Table, Values};

fn csv(bytes: &[u8]) -> Table {
    Table::read(bytes, Format::Csv, &ReadSettings::default()).expect("a table")
}

fn refused(bytes: &[u8], format: Format, settings: &ReadSettings) -> String {
    Table::read(bytes, format, settings).expect_err("refused").to_string()
}

fn kinds(table: &Table) -> Vec<Kind> {
    table.columns().iter().map(|column| column.values.kind()).collect()
}

#[test]
fn delimiters_headers_and_marks_are_found_out() {
    for delimiter in [",", ";", "\t", "|"] {
        let text = "name,size,on\nred,1.5,2026-01-31\n\"a \"\"b\"\"\nc\",-2e3,2025-12-01\n".replace(',', delimiter);
        let table = csv(text.as_bytes());
        assert_eq!(kinds(&table), [Kind::Category, Kind::Number, Kind::Date], "{delimiter}");
        assert_eq!(table.columns()[0].values.text(1), "a \"b\"\nc");
        assert_eq!(table.columns()[1].values, Values::Number(vec![1.5, -2000.0]));
    }
    let table = csv("\u{feff}größe,ok\r\n1,true\r\n,FALSE\r\n".as_bytes());
    assert_eq!(table.columns()[0].name, "größe");
    assert_eq!(kinds(&table), [Kind::Number, Kind::Boolean]);
    assert!(table.columns()[0].values.is_missing(1));
    let table = csv(b"1,2\n3,4\n");
    assert_eq!((table.rows(), table.columns()[1].name.as_str()), (2, "column_2"));
    let settings = ReadSettings { header: Some(true), ..ReadSettings::default() };
    let table = Table::read(&b"1,2\n3,4\n"[..], Format::Csv, &settings).expect("a table");
    assert_eq!((table.rows(), table.columns()[1].name.as_str()), (1, "2"));
}

#[test]
fn a_bad_csv_names_row_and_column() {
    let plain = ReadSettings::default();
    let small = |limits: Limits| ReadSettings { limits, ..ReadSettings::default() };
    let of_kind =
        |name: &str, kind| ReadSettings { kinds: [(name.to_owned(), kind)].into(), ..ReadSettings::default() };
    let many = format!("{}\n", vec!["1"; 1_000_000].join(","));
    let open = format!("a,b\n1,\"{}", "x\n".repeat(3_000_000));
    let cases: Vec<(Vec<u8>, ReadSettings, &[&str])> = vec![
        (b"a,b\n1,2\n3\n".to_vec(), plain.clone(), &["row 2 (line 3)", "`b`"]),
        (b"a,b\n1,2\n3,4,5\n".to_vec(), plain.clone(), &["row 2 (line 3)", "cell 3"]),
        (b"a,b\n1,x\n2,\xe9t\xe9\n".to_vec(), plain.clone(), &["row 2", "`b`", "0xe9", "line 3"]),
        (b"a,b\n1,x\n2,y\0z\n".to_vec(), plain.clone(), &["row 2", "`b`", "NUL"]),
        (b"a,b\n1,2\n2,inf\n".to_vec(), plain.clone(), &["row 2", "`b`", "finite"]),
        (b"a,a\n1,2\n".to_vec(), plain.clone(), &["columns 1 and 2", "`a`"]),
        (b"\xff\xfea\0,\0".to_vec(), plain.clone(), &["UTF-16"]),
        (b"PK\x03\x04rest".to_vec(), plain.clone(), &["zip"]),
        (b"".to_vec(), plain.clone(), &["empty"]),
        (b"a,b\n1,2\n2,x\n".to_vec(), of_kind("b", Kind::Number), &["row 2", "`b`", "`x`"]),
        (b"a,b\n1,true\n2,maybe\n".to_vec(), of_kind("b", Kind::Boolean), &["row 2", "`b`", "`maybe`"]),
        (b"a,b\n1,2026-01-01\n2,2026-02-30\n".to_vec(), of_kind("b", Kind::Date), &["row 2", "`b`", "`2026-02-30`"]),
        (b"a,b\n1,2\n".to_vec(), of_kind("c", Kind::Date), &["`c`"]),
        (many.into_bytes(), plain.clone(), &["columns_max", "4096", "column 4097"]),
        (open.into_bytes(), plain.clone(), &["row 1", "`b`", "cell_bytes_max"]),
        (b"a\n1\n2\n3\n".to_vec(), small(Limits { rows_max: 2, ..Limits::default() }), &["row 3", "rows_max"]),
        (
            b"a\nxxxxx\n".to_vec(),
            small(Limits { cell_bytes_max: 4, ..Limits::default() }),
            &["row 1", "`a`", "5 bytes"],
        ),
        (b"a\nx\ny\nz\n".to_vec(), small(Limits { memory_bytes_max: 20, ..Limits::default() }), &["row 3", "memory"]),
    ];
    for (bytes, settings, expected) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let message = refused(&bytes, Format::Csv, &settings);
        assert!(expected.iter().all(|part| message.contains(part)), "{shown:?}: {message}");
        assert!(message.len() < 400, "{message}");
    }
}

#[test]
fn lines_of_json_become_columns() {
    let text = "{\"a\": 1, \"b\": \"x\"}\n\n{\"b\": \"7\", \"c\": true}\n{\"a\": null, \"b\": \"y\", \"a b\": 1e400}";
    let message = refused(text.as_bytes(), Format::Jsonl, &ReadSettings::default());
    assert!(message.contains("row 3 (line 4)"), "{message}");
    let text = text.replace("1e400", "2.5");
    let table = Table::read(text.as_bytes(), Format::Jsonl, &ReadSettings::default()).expect("a table");
    let names: Vec<&str> = table.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "a b"]);
    assert_eq!(kinds(&table), [Kind::Number, Kind::Category, Kind::Boolean, Kind::Number]);
    assert!(table.columns()[3].values.is_missing(0) && !table.columns()[3].values.is_missing(2));
    for (text, expected) in [
        ("{\"a\": 1}\n{\"a\": [1]}", ["row 2", "`a`"]),
        ("{\"a\": 1}\n[1]", ["row 2", "object"]),
        ("{\"a\": 1}\n{\"a\": 1", ["row 2", "line 2"]),
        ("", ["row 1", "no lines"]),
        ("{\"a\": 1, \"a \": 2}", ["row 1", "twice"]),
    ] {
        let message = refused(text.as_bytes(), Format::Jsonl, &ReadSettings::default());
        assert!(expected.iter().all(|part| message.contains(part)), "{text}: {message}");
    }
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    refused(deep.as_bytes(), Format::Jsonl, &ReadSettings::default());
}

#[test]
fn parquet_files_of_another_writer_are_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tables");
    let file = |name: &str| std::fs::read(format!("{path}/{name}")).expect("the fixture");
    for name in ["snappy.parquet", "zstd.parquet"] {
        let bytes = file(name);
        let table = Table::read(bytes.as_slice(), Format::Parquet, &ReadSettings::default()).expect("a table");
        let expected = csv(&file("rows.csv"));
        assert_eq!(table.rows(), expected.rows());
        for (ours, theirs) in table.columns().iter().zip(expected.columns()) {
            assert_eq!((&ours.name, ours.values.kind()), (&theirs.name, theirs.values.kind()));
            for row in 0..table.rows() {
                assert_eq!(ours.values.text(row), theirs.values.text(row), "{name}, row {row}, {}", ours.name);
            }
        }
        for cut in [0, 3, 11, bytes.len() / 2, bytes.len() - 1] {
            refused(&bytes[..cut], Format::Parquet, &ReadSettings::default());
        }
        let mut broken = bytes.clone();
        for place in (4..bytes.len()).step_by(7) {
            broken[place] ^= 0xff;
            let _ = Table::read(broken.as_slice(), Format::Parquet, &ReadSettings::default());
            broken[place] ^= 0xff;
        }
    }
    let message = refused(&file("nested.parquet"), Format::Parquet, &ReadSettings::default());
    assert!(message.contains("row 1") && message.contains("`list`"), "{message}");
    let settings = ReadSettings { limits: Limits { rows_max: 3, ..Limits::default() }, ..ReadSettings::default() };
    assert!(refused(&file("snappy.parquet"), Format::Parquet, &settings).contains("rows_max"));
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("a file");
        archive.write_all(bytes).expect("bytes");
    }
    archive.finish().expect("an archive").into_inner()
}

fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).expect("a file");
    }
    archive.into_inner().expect("an archive")
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).expect("packed");
    packed
}

fn png(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb(colour));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

fn pictures(bytes: Vec<u8>, settings: &PictureSettings) -> orrery_train::Result<Pictures> {
    Pictures::read(Cursor::new(bytes), settings)
}

#[test]
fn class_folders_are_read_from_each_kind_of_archive() {
    let (red, blue) = (png(4, 2, [255, 0, 0]), png(8, 4, [0, 0, 255]));
    let long = format!("top/{}/red/1.png", "long".repeat(60));
    let files: Vec<(&str, &[u8])> = vec![
        (&long, &red),
        ("top/blue/1.PNG", &blue),
        ("top/red/2.png", &red),
        ("top/readme.txt", b"hello"),
        ("__MACOSX/red/._1.png", b"junk"),
    ];
    for bytes in [zipped(&files), tarred(&files), packed(&tarred(&files))] {
        let pictures = pictures(bytes, &PictureSettings::default()).expect("pictures");
        assert_eq!((pictures.classes(), pictures.of_row()), (&["blue", "red"].map(str::to_owned)[..], &[1, 0, 1][..]));
        let pixels = pictures.pixels();
        assert_eq!((pixels.height, pixels.width, pixels.channels), (2, 4, 3));
        assert_eq!((&pixels.values[..3], &pixels.values[24..27]), (&[255, 0, 0][..], &[0, 0, 255][..]));
        let preview = pictures.preview();
        assert_eq!(preview.classes, [("blue".to_owned(), 1), ("red".to_owned(), 2)]);
        assert!(preview.warnings.iter().any(|warning| warning.contains("1 files were passed over")));
        assert!(preview.warnings.iter().any(|warning| warning.contains("1 pictures are equal")));
    }
    let grey = PictureSettings { channels: Some(1), height: Some(3), width: Some(3), ..PictureSettings::default() };
    let pictures = pictures(zipped(&files), &grey).expect("pictures");
    assert_eq!(pictures.pixels().values.len(), 3 * 9);
}

#[test]
fn archives_with_bad_intent_are_refused() {
    let red = png(4, 2, [255, 0, 0]);
    let plain = PictureSettings::default();
    let of_limits = |limits| PictureSettings { limits, ..PictureSettings::default() };
    let zeros = vec![0; 8 << 20];
    let mut link = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    link.append_link(&mut header, "a/1.png", "/etc/passwd").expect("a link");
    let mut slip = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().expect("of this kind").name[..8].copy_from_slice(b"a/../1.p");
    header.set_size(red.len() as u64);
    header.set_cksum();
    slip.append(&header, red.as_slice()).expect("a file");
    let cases: Vec<(Vec<u8>, PictureSettings, &str)> = vec![
        (zipped(&[("../1.png", &red)]), plain.clone(), "leads out"),
        (zipped(&[("/etc/1.png", &red)]), plain.clone(), "leads out"),
        (zipped(&[("a\\..\\1.png", &red)]), plain.clone(), "leads out"),
        (slip.into_inner().expect("an archive"), plain.clone(), "leads out"),
        (link.into_inner().expect("an archive"), plain.clone(), "a link"),
        (zipped(&[("1.png", &red)]), plain.clone(), "no folder"),
        (zipped(&[("a/1.txt", b"x")]), plain.clone(), "no picture"),
        (zipped(&[("a/1.png", b"no picture")]), plain.clone(), "row 1 (file `a/1.png`)"),
        (zipped(&[("a/1.png", &red), ("a/2.png", &red[..40])]), plain.clone(), "row 2 (file `a/2.png`)"),
        (zipped(&[("a/1.png", &zeros)]), plain.clone(), "expansion_max"),
        (
            packed(&tarred(&[("a/1.png", &zeros)])),
            of_limits(Limits { expansion_max: 50, ..Limits::default() }),
            "expansion_max",
        ),
        (zipped(&[("a/1.png", &red)]), of_limits(Limits { picture_pixels_max: 7, ..Limits::default() }), "4 × 2"),
        (
            zipped(&[("a/1.png", &red)]),
            of_limits(Limits { entry_bytes_max: 9, ..Limits::default() }),
            "entry_bytes_max",
        ),
        (
            zipped(&[("a/1.png", &red), ("a/2.png", &red)]),
            of_limits(Limits { rows_max: 1, ..Limits::default() }),
            "rows_max",
        ),
        (
            tarred(&[("a/1.png", &red), ("a/2.png", &red)]),
            of_limits(Limits { entries_max: 1, ..Limits::default() }),
            "entries_max",
        ),
        (
            zipped(&[("a/1.png", &red)]),
            of_limits(Limits { memory_bytes_max: 23, ..Limits::default() }),
            "memory_bytes_max",
        ),
        (b"PK\x03\x04 broken".to_vec(), plain.clone(), "zip"),
        (zipped(&[("a/1.png", &red)]), PictureSettings { channels: Some(2), ..plain.clone() }, "2 is neither"),
    ];
    for (index, (bytes, settings, expected)) in cases.into_iter().enumerate() {
        let message = pictures(bytes, &settings).expect_err("refused").to_string();
        assert!(message.contains(expected), "case {index}, {expected}: {message}");
    }
}

fn idx(sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(bytes);
    file
}

#[test]
fn idx_files_are_read_packed_or_not_and_from_an_archive() {
    let (images, labels) = (idx(&[3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), idx(&[3], &[10, 2, 10]));
    let limits = Limits::default();
    for (images, labels) in [(images.clone(), labels.clone()), (packed(&images), packed(&labels))] {
        let pictures = Pictures::read_idx(images.as_slice(), labels.as_slice(), &limits).expect("pictures");
        assert_eq!((pictures.classes(), pictures.of_row()), (&["2", "10"].map(str::to_owned)[..], &[1, 0, 1][..]));
        assert_eq!((pictures.rows(), pictures.pixels().height, pictures.pixels().channels), (3, 2, 1));
        let files: Vec<(&str, &[u8])> =
            vec![("train-images-idx3-ubyte", &images), ("train-labels-idx1-ubyte", &labels)];
        assert_eq!(self::pictures(zipped(&files), &PictureSettings::default()).expect("pictures"), pictures);
    }
    for (images, labels, expected) in [
        (images.clone(), idx(&[2], &[1, 2]), "row 3"),
        (idx(&[3, 2, 2], &[1; 11]), labels.clone(), "row 3"),
        (idx(&[3, 2, 2], &[1; 13]), labels.clone(), "more"),
        (idx(&[u32::MAX, 1, 1], &[]), labels.clone(), "rows_max"),
        (idx(&[3, u32::MAX, u32::MAX], &[]), labels.clone(), "memory_bytes_max"),
        (labels.clone(), labels.clone(), "sizes"),
        (b"\0\0\x0d\x03".to_vec(), labels.clone(), "begins"),
    ] {
        let refused = Pictures::read_idx(images.as_slice(), labels.as_slice(), &limits).expect_err("refused");
        assert!(refused.to_string().contains(expected), "{expected}: {refused}");
    }
}

#[test]
fn a_preview_tells_what_is_odd() {
    let mut text = "id,same,twin,age,y,note,mixed,when\n".to_owned();
    for row in 0..30 {
        let class = if row % 3 == 0 { "yes" } else { "no" };
        let note = if row == 4 { "=cmd|' /C calc'!A0" } else { "fine" };
        let mixed = if row == 7 { "many".to_owned() } else { row.to_string() };
        text += &format!("{row},k,{},{},{class},{note},{mixed},0{}/02/2024\n", row % 3, row * 2 % 7, row % 9 + 1);
    }
    text += "29,k,2,2,no,fine,29,03/02/2024\n29,k,2,2,no,fine,29,03/02/2024\n";
    let table = csv(text.as_bytes());
    let preview = table.preview(Some("y"));
    for expected in [
        "`same` has the same value",
        "`note`: row 5 has `=cmd|\\' /C calc\\'!A0`",
        "`mixed`: 31 of 32 cells are numbers, but row 8 has `many`",
        "`when`: every date is one by",
        "2 rows are equal",
    ] {
        assert!(
            preview.warnings.iter().any(|warning| warning.contains(expected)),
            "{expected}: {:#?}",
            preview.warnings
        );
    }
    let age = preview.columns[3].numbers.expect("numbers");
    assert_eq!((age.min, age.max), (0.0, 6.0));
    assert_eq!(preview.columns[4].values, [("no".to_owned(), 22), ("yes".to_owned(), 10)]);
    let leak = csv(b"a,y\nu,1\nv,2\nu,1\nw,3\n").preview(Some("y"));
    assert!(leak.warnings.iter().any(|warning| warning.contains("`a` gives the target `y` away")), "{leak:?}");
    let ids =
        csv(format!("id,y\n{}", (0..20).map(|row| format!("{row},{}\n", row % 2)).collect::<String>()).as_bytes());
    assert!(ids.preview(None).warnings[0].contains("`id` has another value in every row"));
}

#[test]
fn a_source_that_fails_is_an_error_with_its_cause() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    for format in [Format::Csv, Format::Jsonl, Format::Parquet] {
        let Err(Error::File { source, .. }) = Table::read(Fails, format, &ReadSettings::default()) else {
            panic!("an error of the file")
        };
        assert_eq!(source.to_string(), "the disk is gone");
    }
}
