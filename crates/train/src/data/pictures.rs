//! Pictures in memory: all of one size, each with its class.

use std::collections::BTreeSet;

use crate::{Error, Pixels, Result};

/// Pictures of one size with their classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pictures {
    pub(crate) pixels: Pixels,
    pub(crate) classes: Vec<String>,
    pub(crate) of_row: Vec<u32>,
    /// What was odd while they were read; the preview shows it.
    pub(crate) warnings: Vec<String>,
}

impl Pictures {
    /// Pictures whose classes have names; classes are sorted by size if all are numbers, else by name.
    ///
    /// # Errors
    /// [`Error::BadData`] if there are not as many classes as pictures.
    pub fn new(pixels: Pixels, of_row: &[String]) -> Result<Pictures> {
        let bytes = pixels.rows * pixels.height * pixels.width * pixels.channels;
        if of_row.len() != pixels.rows || pixels.values.len() != bytes {
            let (pictures, classes) = (pixels.rows, of_row.len());
            return Err(Error::BadData(format!("there are {pictures} pictures and {classes} classes for them")));
        }
        let classes = sorted_classes(of_row.iter().cloned().collect());
        let numbers: std::collections::HashMap<&str, u32> =
            classes.iter().zip(0..).map(|(class, number)| (class.as_str(), number)).collect();
        let of_row = of_row.iter().map(|class| numbers[class.as_str()]).collect();
        Ok(Pictures { pixels, classes, of_row, warnings: Vec::new() })
    }

    /// How many.
    pub fn rows(&self) -> usize {
        self.pixels.rows
    }

    /// The pictures themselves.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of each picture's class.
    pub fn of_row(&self) -> &[u32] {
        &self.of_row
    }

    /// What was odd while they were read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The bytes of one picture, `[height][width][channels]`. Panics if there is no such row.
    pub(crate) fn picture(&self, row: usize) -> &[u8] {
        let bytes = self.pixels.height * self.pixels.width * self.pixels.channels;
        &self.pixels.values[row * bytes..(row + 1) * bytes]
    }
}

/// Names of classes in the order of their numbers: by size if all are numbers, else by name.
pub(crate) fn sorted_classes(names: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    let numbers: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut pairs: Vec<(f64, String)> = numbers.into_iter().zip(names).collect();
        pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
        names = pairs.into_iter().map(|(_, name)| name).collect();
    }
    names
}
