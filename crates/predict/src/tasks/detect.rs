//! object-detection. PicoDet's outputs: for each level a grid of cells; for each cell the scores of all labels, and for each
//! of the four sides a distribution over its distance from the cell's middle, in strides
//! (https://arxiv.org/abs/2111.00902; the distribution: https://arxiv.org/abs/2006.04388).

use super::classes::softmax;
use super::pixels::{Pixels, Placement};
use super::{Answer, Input, Object, Parts, Pipeline, Plan, check_count, numbers, odd, wrong_kind};
use crate::artefact::{Decoder, Detection};
use crate::error::{Error, Result};
use crate::model::Request;
use crate::tensor::Tensor;
use std::sync::Arc;

struct Finder {
    pixels: Pixels,
    reader: Reader,
    images_max: usize,
}

#[derive(Clone)]
struct Reader {
    detection: Detection,
    labels: Arc<[String]>,
    /// Width and height of the model's input.
    size: [usize; 2],
}

/// A box that may become an object, in pixels of the model's input.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    label: usize,
    score: f32,
    bounds: [f32; 4],
}

/// object-detection.
pub(super) fn detection(parts: &Parts<'_>) -> Result<Arc<dyn Pipeline>> {
    let detection = parts.manifest.pipeline.detection.clone();
    let detection = detection.ok_or_else(|| Error::BadArtefact("field `pipeline.detection` is missing".into()))?;
    for name in detection.scores.iter().chain(&detection.boxes) {
        if !parts.signature.outputs.iter().any(|port| port.name == *name) {
            let name = crate::error::shown(name);
            return Err(Error::BadArtefact(format!("field `pipeline.detection`: the model has no output `{name}`")));
        }
    }
    let pixels = Pixels::of(parts)?;
    let labels = parts.manifest.labels.clone().into();
    let reader = Reader { detection, labels, size: pixels.size() };
    Ok(Arc::new(Finder { pixels, reader, images_max: parts.settings.items_max }))
}

impl Pipeline for Finder {
    fn plan(&self, input: Input) -> Result<Plan> {
        let Input::Images(images) = input else { return Err(wrong_kind("images", &input)) };
        check_count(images.len(), self.images_max)?;
        self.pixels.check_count(images.len())?;
        let wanted: Vec<String> =
            self.reader.detection.scores.iter().chain(&self.reader.detection.boxes).cloned().collect();
        let mut runs = Vec::with_capacity(images.len());
        let mut placements = Vec::with_capacity(images.len());
        for (index, bytes) in images.iter().enumerate() {
            let (tensor, placement) = self.pixels.tensor(index, bytes)?;
            runs.push(Request { inputs: vec![tensor], outputs: wanted.clone(), deadline: None });
            placements.push(placement);
        }
        let reader = self.reader.clone();
        let finish = move |results: Vec<Vec<Tensor>>| {
            let read = |(outputs, placement): (&Vec<Tensor>, &Placement)| reader.objects(outputs, placement);
            results.iter().zip(&placements).map(read).collect::<Result<_>>().map(Answer::Objects)
        };
        Ok(Plan { runs, finish: Box::new(finish) })
    }
}

impl Reader {
    fn objects(&self, outputs: &[Tensor], placement: &Placement) -> Result<Vec<Object>> {
        let mut candidates = Vec::new();
        for level in 0..self.detection.strides.len() {
            match self.detection.decoder {
                Decoder::Picodet => self.picodet(outputs, level, &mut candidates)?,
            }
        }
        let kept = suppress(candidates, &self.detection);
        Ok(kept.iter().filter_map(|candidate| self.object(candidate, placement)).collect())
    }

    /// Candidates of one level.
    fn picodet(&self, outputs: &[Tensor], level: usize, candidates: &mut Vec<Candidate>) -> Result<()> {
        let detection = &self.detection;
        let (Some(stride), Some(scores_name), Some(boxes_name)) =
            (detection.strides.get(level), detection.scores.get(level), detection.boxes.get(level))
        else {
            return Ok(());
        };
        let stride = *stride as usize;
        let (scores_shape, scores) = numbers(outputs, scores_name)?;
        let (boxes_shape, boxes) = numbers(outputs, boxes_name)?;
        let [columns, rows] = self.size.map(|side| side.div_ceil(stride));
        let cells = columns * rows;
        let labels = self.labels.len();
        let [1, found, width] = scores_shape[..] else { return Err(odd(scores_name, "is not [1, cells, labels]")) };
        if (found, width) != (cells, labels) || labels == 0 {
            let reason = format!("has the shape {scores_shape:?}; {cells} cells of {labels} labels were expected");
            return Err(odd(scores_name, &reason));
        }
        let bins = boxes.len() / cells.max(1) / 4;
        if bins == 0 || boxes_shape.iter().product::<usize>() != cells * 4 * bins {
            return Err(odd(
                boxes_name,
                &format!("has the shape {boxes_shape:?}; four sides of {cells} cells were expected"),
            ));
        }
        for (cell, row) in best_cells(&scores, labels, detection) {
            let Some(sides) = boxes.get(cell * 4 * bins..(cell + 1) * 4 * bins) else { continue };
            let bounds = bounds([cell % columns, cell / columns], stride, sides, bins);
            let sure = row.iter().enumerate().filter(|(_, score)| **score > detection.threshold);
            candidates.extend(sure.map(|(label, score)| Candidate { label, score: *score, bounds }));
        }
        Ok(())
    }

    /// `None` for a box with nothing of it on the picture.
    fn object(&self, candidate: &Candidate, placement: &Placement) -> Option<Object> {
        let mut bounds = candidate.bounds;
        for (place, bound) in bounds.iter_mut().enumerate() {
            let axis = place % 2;
            #[expect(clippy::cast_precision_loss, reason = "sides are short")]
            let side = self.size.get(axis).map_or(0.0, |side| *side as f32);
            let (scale, offset) = (placement.scale.get(axis)?, placement.offset.get(axis)?);
            *bound = ((bound.clamp(0.0, side) - offset) / scale).max(0.0);
        }
        let label = self.labels.get(candidate.label)?.clone();
        (bounds.iter().all(|bound| bound.is_finite())).then_some(Object { label, score: candidate.score, bounds })
    }
}

/// The cells with the highest score of any label, and their scores.
fn best_cells<'a>(scores: &'a [f32], labels: usize, detection: &Detection) -> Vec<(usize, &'a [f32])> {
    let highest = |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let rows = scores.chunks_exact(labels).enumerate();
    let mut sure: Vec<(usize, &[f32])> = rows.filter(|(_, row)| highest(row) > detection.threshold).collect();
    sure.sort_by(|left, right| highest(right.1).total_cmp(&highest(left.1)));
    sure.truncate(detection.candidates_max);
    sure
}

/// Left, top, right, bottom of the box around a cell's middle.
#[expect(clippy::cast_precision_loss, reason = "grids are small")]
fn bounds(cell: [usize; 2], stride: usize, sides: &[f32], bins: usize) -> [f32; 4] {
    let stride = stride as f32;
    let mut bounds = [0.0; 4];
    for (place, (bound, side)) in bounds.iter_mut().zip(sides.chunks_exact(bins)).enumerate() {
        let mut shares = side.to_vec();
        softmax(&mut shares);
        let distance = shares.iter().enumerate().map(|(bin, share)| bin as f32 * share).sum::<f32>() * stride;
        let middle = (cell.get(place % 2).copied().unwrap_or(0) as f32 + 0.5) * stride;
        *bound = if place < 2 { middle - distance } else { middle + distance };
    }
    bounds
}

/// Of boxes of one label that overlap, only the surest stays. The surest first, whatever their label.
fn suppress(mut candidates: Vec<Candidate>, detection: &Detection) -> Vec<Candidate> {
    candidates.sort_by(|left, right| right.score.total_cmp(&left.score));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let mut same = kept.iter().filter(|other| other.label == candidate.label);
        let room = same.clone().count() < detection.boxes_max;
        if room && same.all(|other| overlap(&candidate.bounds, &other.bounds) <= detection.overlap) {
            kept.push(candidate);
        }
    }
    kept
}

/// Intersection over union.
fn overlap(left: &[f32; 4], right: &[f32; 4]) -> f32 {
    let area = |bounds: [f32; 4]| (bounds[2] - bounds[0]).max(0.0) * (bounds[3] - bounds[1]).max(0.0);
    let common = [left[0].max(right[0]), left[1].max(right[1]), left[2].min(right[2]), left[3].min(right[3])];
    let common = area(common);
    // Two boxes of no area do not overlap.
    common / (area(*left) + area(*right) - common + 1e-5)
}
