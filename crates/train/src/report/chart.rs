//! Diagrams as SVG. Colours come from the page's style, so that they suit light and dark.

use std::fmt::Write;

use super::Line;
use super::text::{escaped, number};
use crate::metrics::Point;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;
/// Colours of the style.
const COLOURS: usize = 8;
/// Points of a line, and dots of a cloud, that are drawn.
const POINTS_MAX: usize = 600;
const DOTS_MAX: usize = 1500;
/// Lines of a diagram, and bars.
const LINES_MAX: usize = 8;
const BARS_MAX: usize = 30;
/// Classes whose counts are written into their cells.
const COUNTED_CLASSES: usize = 16;
/// Classes that are drawn.
const CLASSES_MAX: usize = 60;
/// Characters of a name beside a diagram.
const NAME_SHOWN: usize = 22;

/// What a diagram's axes say, and a line to compare with.
#[derive(Clone, Copy, Default)]
pub(super) struct Axes<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) guide: Option<(Point, Point)>,
}

/// From data to places on the paper.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    /// Around all points that are finite; `None` if there are none.
    fn around(points: impl Iterator<Item = Point> + Clone) -> Option<Scale> {
        let range = |of: fn(&Point) -> f64| {
            let values = points.clone().map(|point| of(&point)).filter(|value| value.is_finite());
            let (low, high) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
            let margin = if low == high { low.abs().max(1.0) * 0.05 } else { 0.0 };
            (low <= high).then_some((low - margin, high + margin))
        };
        Some(Scale { x: range(|point| point.x)?, y: range(|point| point.y)? })
    }

    fn left(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn top(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    /// Grid, numbers and names.
    fn axes(&self, svg: &mut String, axes: &Axes<'_>) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in ticks(self.y) {
            let (top, text) = (self.top(tick), number(tick));
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {top:.1}H{right}\"/>");
            let _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 8.0, top + 4.0);
        }
        for tick in ticks(self.x) {
            let (left, text) = (self.left(tick), number(tick));
            let _ = write!(svg, "<path class=\"grid\" d=\"M{left:.1} {TOP}V{bottom}\"/>");
            let _ = write!(svg, "<text x=\"{left:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", bottom + 16.0);
        }
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let middle = (LEFT + right) / 2.0;
        let _ = write!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 8.0,
            escaped(axes.x)
        );
        let middle = (TOP + bottom) / 2.0;
        let _ = write!(
            svg,
            "<text transform=\"translate(12 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escaped(axes.y)
        );
        if let Some((from, to)) = axes.guide {
            let _ = write!(
                svg,
                "<path class=\"guide\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
                self.left(from.x),
                self.top(from.y),
                self.left(to.x),
                self.top(to.y)
            );
        }
    }
}

/// Round numbers within a range, four to eight of them.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    if !(rough > 0.0 && rough.is_finite()) {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = power * [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * power >= rough).unwrap_or(10.0);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last.min(first.saturating_add(20))).map(|index| index as f64 * step).collect()
}

/// Lines over an axis; `None` without points.
pub(super) fn lines(lines: &[Line], axes: &Axes<'_>) -> Option<String> {
    let lines = &lines[..lines.len().min(LINES_MAX)];
    let guide = axes.guide.iter().flat_map(|(from, to)| [*from, *to]);
    let scale = Scale::around(lines.iter().flat_map(|line| line.points.iter().copied()).chain(guide))?;
    let legend = if lines.len() > 1 { 20.0 * lines.len().div_ceil(4) as f64 } else { 0.0 };
    let mut svg = start(HEIGHT + legend);
    scale.axes(&mut svg, axes);
    for (index, line) in lines.iter().enumerate() {
        let mut path = String::new();
        let mut is_down = false;
        for point in thinned(&line.points, POINTS_MAX) {
            // A loss that was no number leaves a gap.
            if !(point.x.is_finite() && point.y.is_finite()) {
                is_down = false;
                continue;
            }
            let letter = if is_down { 'L' } else { 'M' };
            let _ = write!(path, "{letter}{:.1} {:.1}", scale.left(point.x), scale.top(point.y));
            is_down = true;
        }
        let colour = index % COLOURS;
        let _ = write!(svg, "<path class=\"line s{colour}\" d=\"{path}\"/>");
        if let ([point], true) = (line.points.as_slice(), is_down) {
            let (left, top) = (scale.left(point.x), scale.top(point.y));
            let _ = write!(svg, "<circle class=\"f{colour}\" cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"3\"/>");
        }
        if lines.len() > 1 {
            let (left, top) = (LEFT + (index % 4) as f64 * 114.0, HEIGHT + (index / 4) as f64 * 20.0 + 10.0);
            let _ = write!(
                svg,
                "<rect class=\"f{colour}\" x=\"{left}\" y=\"{}\" width=\"12\" height=\"4\" rx=\"2\"/>",
                top - 6.0
            );
            let name = escaped(&short(&line.name, 15));
            let _ = write!(svg, "<text class=\"strong\" x=\"{}\" y=\"{top}\">{name}</text>", left + 18.0);
        }
    }
    Some(end(svg))
}

/// Dots; `None` without any.
pub(super) fn cloud(points: &[Point], axes: &Axes<'_>) -> Option<String> {
    let guide = axes.guide.iter().flat_map(|(from, to)| [*from, *to]);
    let scale = Scale::around(points.iter().copied().chain(guide))?;
    let mut svg = start(HEIGHT);
    scale.axes(&mut svg, axes);
    for point in thinned(points, DOTS_MAX).filter(|point| point.x.is_finite() && point.y.is_finite()) {
        let (left, top) = (scale.left(point.x), scale.top(point.y));
        let _ = write!(svg, "<circle class=\"dot f0\" cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"2.6\"/>");
    }
    Some(end(svg))
}

/// Bars upwards for counts in ranges of equal width; `None` without values.
pub(super) fn histogram(values: &[f64], axes: &Axes<'_>) -> Option<String> {
    const RANGES: usize = 24;
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let x = Scale::around(finite.iter().map(|&x| Point { x, y: 0.0 }))?.x;
    let mut counts = [0_usize; RANGES];
    for value in finite {
        let share = (value - x.0) / (x.1 - x.0);
        counts[((share * RANGES as f64) as usize).min(RANGES - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0) as f64;
    let scale = Scale { x, y: (0.0, most.max(1.0)) };
    let mut svg = start(HEIGHT);
    scale.axes(&mut svg, axes);
    let width = (WIDTH - LEFT - RIGHT) / RANGES as f64;
    for (index, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        let (left, top) = (LEFT + index as f64 * width, scale.top(count as f64));
        let height = HEIGHT - BOTTOM - top;
        let _ = write!(
            svg,
            "<rect class=\"f0\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            left + 0.5,
            width - 1.0
        );
    }
    Some(end(svg))
}

/// A bar to the right for each name, with a whisker of its deviation; `None` without any.
pub(super) fn bars(rows: &[(String, f64, f64)]) -> Option<String> {
    const ROW: f64 = 24.0;
    const NAMES: f64 = 170.0;
    let rows = &rows[..rows.len().min(BARS_MAX)];
    let ends = |row: &(String, f64, f64)| [row.1 - row.2, row.1 + row.2];
    let finite = rows.iter().flat_map(ends).filter(|value| value.is_finite());
    let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if rows.is_empty() || low == high {
        return None;
    }
    let place = |value: f64| NAMES + (value - low) / (high - low) * (WIDTH - NAMES - 70.0);
    let mut svg = start(rows.len() as f64 * ROW + 8.0);
    for (index, (name, mean, deviation)) in rows.iter().enumerate() {
        let middle = index as f64 * ROW + ROW / 2.0 + 4.0;
        let name = escaped(&short(name, NAME_SHOWN));
        let _ = write!(
            svg,
            "<text class=\"strong\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            NAMES - 10.0,
            middle + 4.0
        );
        let (from, to) = (place(mean.min(0.0)), place(mean.max(0.0)));
        let _ = write!(
            svg,
            "<rect class=\"f0\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>",
            middle - 7.0,
            (to - from).max(1.0)
        );
        let (from, to) = (place(mean - deviation), place(mean + deviation));
        let _ = write!(svg, "<path class=\"line s5\" d=\"M{from:.1} {middle}H{to:.1}\"/>");
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\">{}</text>",
            to.max(place(*mean)) + 8.0,
            middle + 4.0,
            number(*mean)
        );
    }
    let zero = place(0.0);
    let _ = write!(svg, "<path class=\"axis\" d=\"M{zero:.1} 2V{}\"/>", rows.len() as f64 * ROW + 4.0);
    Some(end(svg))
}

/// Counts by truth (downwards) and prediction (to the right); the colour is the share of the truth's row.
pub(super) fn confusion(counts: &[Vec<u64>], classes: &[String]) -> Option<String> {
    const NAMES: f64 = 120.0;
    let count = counts.len();
    if count == 0 || count > CLASSES_MAX || classes.len() != count {
        return None;
    }
    let cell = ((WIDTH - NAMES - 10.0) / count as f64).min(64.0);
    let size = cell * count as f64;
    let mut svg = start(size + NAMES);
    let name = |class: usize| escaped(&short(&classes[class], 16));
    for (truth, row) in counts.iter().enumerate() {
        let total: u64 = row.iter().sum();
        let top = truth as f64 * cell + 4.0;
        if cell >= 9.0 {
            let (middle, name) = (top + cell / 2.0 + 4.0, name(truth));
            let _ = write!(
                svg,
                "<text class=\"strong\" x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>",
                NAMES - 8.0
            );
        }
        for (predicted, &rows) in row.iter().enumerate() {
            let share = if total == 0 { 0.0 } else { rows as f64 / total as f64 };
            let left = NAMES + predicted as f64 * cell;
            let colour = if truth == predicted { 0 } else { 1 };
            let _ = write!(
                svg,
                "<rect class=\"grid\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\"/>\
                 <rect class=\"f{colour}\" fill-opacity=\"{:.3}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                if rows == 0 { 0.0 } else { 0.12 + 0.6 * share },
                left + 0.5,
                top + 0.5,
                cell - 1.0,
                cell - 1.0
            );
            if count <= COUNTED_CLASSES && (rows > 0 || truth == predicted) {
                let (left, top) = (left + cell / 2.0, top + cell / 2.0 + 4.0);
                let _ = write!(
                    svg,
                    "<text class=\"strong\" x=\"{left:.1}\" y=\"{top:.1}\" text-anchor=\"middle\">{rows}</text>"
                );
            }
        }
    }
    if cell >= 9.0 {
        for class in 0..count {
            let (left, top) = (NAMES + (class as f64 + 0.5) * cell + 4.0, size + 14.0);
            let _ = write!(
                svg,
                "<text class=\"strong\" transform=\"translate({left:.1} {top:.1}) rotate(-40)\" text-anchor=\"end\">{}</text>",
                name(class)
            );
        }
    }
    let _ = write!(
        svg,
        "<text x=\"{NAMES}\" y=\"{:.1}\">predicted to the right, true downwards</text>",
        size + NAMES - 8.0
    );
    Some(end(svg))
}

fn start(height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">")
}

fn end(mut svg: String) -> String {
    svg.push_str("</svg>");
    svg
}

/// At most `most` of the points, evenly taken, the first and the last among them.
fn thinned(points: &[Point], most: usize) -> impl Iterator<Item = Point> + '_ {
    let step = points.len().div_ceil(most).max(1);
    let is_last = move |index: usize| index + 1 == points.len();
    points.iter().enumerate().filter(move |(index, _)| index % step == 0 || is_last(*index)).map(|(_, point)| *point)
}

fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most { name.to_owned() } else { name.chars().take(most - 1).chain(['…']).collect() }
}
