//! Pictures from an archive: PNG, JPEG, BMP or WebP files in a folder for each class, or IDX files.

use std::io::{Cursor, Read, Seek};

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader};
use serde::{Deserialize, Serialize};

use super::{Limits, Pictures, archive, idx, over_limit, quoted};
use crate::{Error, Pixels, Result};

/// To what size pictures are brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PictureSettings {
    /// Rows of pixels. That of the first picture, at most `side_max`, if it is not given. IDX pictures keep theirs.
    pub height: Option<usize>,
    /// Pixels in a row. As `height`.
    pub width: Option<usize>,
    /// 1 (grey) or 3 (colour). Those of the first picture if it is not given.
    pub channels: Option<usize>,
    /// The longer side of pictures whose size is not given.
    pub side_max: usize,
    /// Bounds.
    pub limits: Limits,
}

impl Default for PictureSettings {
    fn default() -> PictureSettings {
        PictureSettings { height: None, width: None, channels: None, side_max: 64, limits: Limits::default() }
    }
}

/// Most pixels of a side that pictures are brought to.
const SIDE_MAX: usize = 4096;
/// Endings of the files that are read as pictures; others are passed over with a warning.
const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "webp"];

/// Reads an archive to its end.
pub(super) fn read(source: impl Read + Seek, settings: &PictureSettings) -> Result<Pictures> {
    check(settings)?;
    let mut reading = Reading::new(settings);
    archive::each_file(source, &settings.limits, &mut |name, bytes| reading.add(name, bytes))?;
    reading.end()
}

fn check(settings: &PictureSettings) -> Result<()> {
    let sides = [("height", settings.height), ("width", settings.width), ("side_max", Some(settings.side_max))];
    for (field, side) in sides {
        if side.is_some_and(|side| !(1..=SIDE_MAX).contains(&side)) {
            let message = format!("{side:?} is not between 1 and {SIDE_MAX}");
            return Err(Error::BadSpec { field: field.to_owned(), message });
        }
    }
    match settings.channels {
        None | Some(1 | 3) => Ok(()),
        Some(channels) => {
            let message = format!("{channels} is neither 1 (grey) nor 3 (colour)");
            Err(Error::BadSpec { field: "channels".to_owned(), message })
        }
    }
}

/// What was read so far.
struct Reading<'a> {
    settings: &'a PictureSettings,
    pixels: Pixels,
    classes: Vec<String>,
    resized: usize,
    recoloured: usize,
    passed_over: usize,
    /// IDX files by name.
    arrays: Vec<(String, Vec<u8>)>,
}

impl<'a> Reading<'a> {
    fn new(settings: &'a PictureSettings) -> Reading<'a> {
        let (pixels, classes, arrays) = (Pixels::default(), Vec::new(), Vec::new());
        Reading { settings, pixels, classes, resized: 0, recoloured: 0, passed_over: 0, arrays }
    }

    fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        if bytes.starts_with(&[0x1f, 0x8b]) || idx::is_idx(&bytes) {
            const ARRAYS_MAX: usize = 8;
            if self.arrays.len() == ARRAYS_MAX {
                return Err(Error::BadData(format!("file {}: more than {ARRAYS_MAX} IDX files", quoted(name))));
            }
            self.arrays.push((name.to_owned(), bytes));
            return Ok(());
        }
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        if !ENDINGS.contains(&ending.as_str()) {
            self.passed_over += 1;
            return Ok(());
        }
        let row = self.pixels.rows;
        let at = || format!("row {} (file {})", row + 1, quoted(name));
        let folder = name.rsplit('/').nth(1).filter(|folder| !folder.is_empty() && *folder != ".");
        let Some(class) = folder else {
            return Err(Error::BadData(format!("{} is in no folder; put it in one of its class's name", at())));
        };
        if row == self.settings.limits.rows_max {
            return Err(over_limit(&at(), "rows_max", self.settings.limits.rows_max));
        }
        let picture = decode(&bytes, &self.settings.limits, &at())?;
        self.fix_size(&picture);
        self.push(picture, &at())?;
        self.classes.push(class.to_owned());
        Ok(())
    }

    /// The first picture decides what the settings leave open.
    fn fix_size(&mut self, picture: &DynamicImage) {
        if self.pixels.rows > 0 {
            return;
        }
        let (height, width) = (picture.height() as usize, picture.width() as usize);
        let longer = height.max(width);
        let shrunk = |side: usize| match longer > self.settings.side_max {
            true => (side * self.settings.side_max / longer).max(1),
            false => side,
        };
        self.pixels.height = self.settings.height.unwrap_or_else(|| shrunk(height));
        self.pixels.width = self.settings.width.unwrap_or_else(|| shrunk(width));
        self.pixels.channels = self.settings.channels.unwrap_or(if picture.color().has_color() { 3 } else { 1 });
    }

    fn push(&mut self, picture: DynamicImage, at: &str) -> Result<()> {
        let (height, width) = (self.pixels.height as u32, self.pixels.width as u32);
        let is_grey = self.pixels.channels == 1;
        self.recoloured += usize::from(is_grey == picture.color().has_color());
        let picture = if (picture.height(), picture.width()) == (height, width) {
            picture
        } else {
            self.resized += 1;
            picture.resize_exact(width, height, FilterType::Triangle)
        };
        let bytes = if is_grey { picture.into_luma8().into_raw() } else { picture.into_rgb8().into_raw() };
        if self.pixels.values.len() + bytes.len() > self.settings.limits.memory_bytes_max {
            return Err(over_limit(at, "memory_bytes_max", self.settings.limits.memory_bytes_max));
        }
        self.pixels.values.extend(bytes);
        self.pixels.rows += 1;
        Ok(())
    }

    fn end(self) -> Result<Pictures> {
        let mut pictures = match (self.pixels.rows, self.arrays.is_empty()) {
            (0, true) => {
                let message = "row 1: the archive holds no picture; pack PNG, JPEG, BMP or WebP files in a folder for \
                               each class, or the two IDX files";
                return Err(Error::BadData(message.to_owned()));
            }
            (_, true) => Pictures::new(self.pixels, &self.classes)?,
            (0, false) => pairs(self.arrays, &self.settings.limits)?,
            (_, false) => {
                let name = quoted(&self.arrays[0].0);
                return Err(Error::BadData(format!("file {name}: IDX and other pictures are in one archive")));
            }
        };
        let count = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        pictures.warnings.extend(count(self.resized, "pictures were brought to the common size"));
        pictures.warnings.extend(count(self.recoloured, "pictures were changed from grey to colour or back"));
        pictures.warnings.extend(count(self.passed_over, "files were passed over, which are no pictures"));
        Ok(pictures)
    }
}

fn decode(bytes: &[u8], limits: &Limits, at: &str) -> Result<DynamicImage> {
    let broken = |error: &dyn std::fmt::Display| Error::BadData(format!("{at} cannot be read as a picture: {error}"));
    let open = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let (width, height) = open().map_err(|error| broken(&error))?.into_dimensions().map_err(|error| broken(&error))?;
    if u64::from(width) * u64::from(height) > limits.picture_pixels_max {
        let what = format!("{at} is a picture of {width} × {height} pixels");
        return Err(over_limit(&what, "picture_pixels_max", limits.picture_pixels_max));
    }
    let mut reader = open().map_err(|error| broken(&error))?;
    let mut bounds = image::Limits::default();
    // Eight bytes for a pixel of four channels of sixteen bits, and as much again for the decoder.
    bounds.max_alloc = Some(limits.picture_pixels_max.saturating_mul(16));
    reader.limits(bounds);
    reader.decode().map_err(|error| broken(&error))
}

/// IDX files whose names differ in `images` and `labels` alone belong together; several pairs are put in one.
fn pairs(arrays: Vec<(String, Vec<u8>)>, limits: &Limits) -> Result<Pictures> {
    let key = |name: &str| {
        name.to_lowercase().replace("images", "*").replace("labels", "*").replace("idx3", "idx").replace("idx1", "idx")
    };
    let (mut labels, mut pictures): (Vec<_>, Vec<_>) =
        arrays.into_iter().partition(|(name, _)| name.to_lowercase().contains("labels"));
    pictures.sort();
    let (mut all, mut classes): (Option<Pixels>, Vec<String>) = (None, Vec::new());
    for (name, bytes) in &pictures {
        let Some(index) = labels.iter().position(|(other, _)| key(other) == key(name)) else {
            return Err(Error::BadData(format!("file {}: there is no file of labels of that name", quoted(name))));
        };
        let (_, of_labels) = labels.swap_remove(index);
        let part = idx::read(bytes.as_slice(), of_labels.as_slice(), limits)?;
        classes.extend(part.of_row.iter().map(|&class| part.classes[class as usize].clone()));
        match &mut all {
            None => all = Some(part.pixels),
            Some(all)
                if (all.height, all.width, all.channels)
                    == (part.pixels.height, part.pixels.width, part.pixels.channels) =>
            {
                all.rows += part.pixels.rows;
                all.values.extend(part.pixels.values);
            }
            Some(_) => return Err(Error::BadData(format!("file {}: pictures of another size", quoted(name)))),
        }
    }
    let all = all.ok_or_else(|| Error::BadData("row 1: there are IDX labels and no pictures".to_owned()))?;
    if all.values.len() > limits.memory_bytes_max {
        return Err(over_limit("the pictures of all files together", "memory_bytes_max", limits.memory_bytes_max));
    }
    Pictures::new(all, &classes)
}
