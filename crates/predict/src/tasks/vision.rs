//! image-classification.

use super::classes::Classes;
use super::pixels::Pixels;
use super::{Input, Parts, Pipeline, Plan, check_count, wrong_kind};
use crate::error::Result;
use crate::model::Request;
use std::sync::Arc;

struct Classification {
    pixels: Pixels,
    classes: Classes,
    images_max: usize,
}

/// image-classification.
pub(super) fn classification(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    let (pixels, classes) = (Pixels::of(parts)?, Classes::of(parts)?);
    Ok(Arc::new(Classification { pixels, classes, images_max: parts.settings.items_max }))
}

impl Pipeline for Classification {
    fn plan(&self, input: Input) -> Result<Plan> {
        let Input::Images(images) = input else { return Err(wrong_kind("images", &input)) };
        check_count(images.len(), self.images_max)?;
        self.pixels.check_count(images.len())?;
        let classes = self.classes.clone();
        let run = |(index, bytes): (usize, &Vec<u8>)| {
            let (tensor, _) = self.pixels.tensor(index, bytes)?;
            Ok(Request { inputs: vec![tensor], outputs: vec![classes.output.clone()], deadline: None })
        };
        let runs = images.iter().enumerate().map(run).collect::<Result<_>>()?;
        Ok(Plan { runs, finish: Box::new(move |results| classes.answer(&results)) })
    }
}
