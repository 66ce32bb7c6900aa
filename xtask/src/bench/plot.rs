//! Line charts as SVG: one chart, one file, no library. The colours follow the reader's light or dark theme.
//!
//! Must not know what is plotted. Start at [`Chart::svg`].
//!
//! ```text
//! ┌ title ───────────────────────────┐
//! │ legend                           │
//! │ y │ ┌ plot: LEFT..RIGHT ───────┐ │  TOP
//! │   │ │                          │ │
//! │   │ └──────────────────────────┘ │  BOTTOM
//! │            x                     │
//! └──────────────────────────────────┘
//! ```

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 696.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 364.0;
/// Width of a letter of the legend, taken wide, so that names never touch.
const LETTER: f64 = 7.6;
/// Lines that have a colour of their own; more start over.
const COLOURS: usize = 6;

/// Blue, orange, green, red, violet and grey: told apart by the colour-blind as well (after Okabe and Ito). No CSS variables:
/// few viewers outside browsers know them.
const STYLE: &str = "\
svg{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}
.back{fill:#fff}text{fill:#1f2328}.title{font-size:16px;font-weight:600}text.muted{fill:#59636e}
.grid{stroke:#d8dee4}.axis{stroke:#59636e}
.c0{color:#0b62c4}.c1{color:#c25e00}.c2{color:#00805a}.c3{color:#b3306f}.c4{color:#7a4fd0}.c5{color:#6b7280}
.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.lead{stroke-width:3.2}.dot{fill:currentColor}
@media(prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#e6edf3}text.muted{fill:#9198a1}
.grid{stroke:#30363d}.axis{stroke:#9198a1}
.c0{color:#58a6ff}.c1{color:#f0a04b}.c2{color:#3fc794}.c3{color:#f27ab8}.c4{color:#b49bff}.c5{color:#9ca3af}}";

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero.
    Linear,
    /// Equal ratios are equally far apart; only values above zero are drawn.
    Logarithmic,
}

#[derive(Debug, Clone)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
}

/// One line. The first series of a chart is drawn thicker and on top.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    /// x and y, by x.
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone)]
pub struct Chart {
    pub title: String,
    /// Ticks stand at the points themselves: they are few and chosen.
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

impl Chart {
    /// The file's text; `None` when there is nothing to draw.
    pub fn svg(&self) -> Option<String> {
        let xs = distinct(self.values(|point| point.0, self.x.scale));
        let ys = self.values(|point| point.1, self.y.scale);
        let (first, last) = (*xs.first()?, *xs.last()?);
        let highest = ys.iter().copied().fold(f64::NAN, f64::max);
        let lowest = ys.iter().copied().fold(f64::NAN, f64::min);
        if ys.is_empty() {
            return None;
        }
        let ticks = match self.y.scale {
            Scale::Linear => linear_ticks(highest),
            Scale::Logarithmic => logarithmic_ticks(lowest, highest),
        };
        let across = Place { scale: self.x.scale, from: first, to: last, start: LEFT + 24.0, end: RIGHT - 24.0 };
        let (bottom, top) = (*ticks.first()?, *ticks.last()?);
        let up = Place { scale: self.y.scale, from: bottom, to: top, start: BOTTOM, end: TOP };
        let mut out = String::new();
        let mut put = |text: String| writeln!(out, "{text}").expect("invariant: a string takes all");
        put(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>",
            escape(&self.title)
        ));
        put(format!("<rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"));
        put(format!("<text class=\"title\" x=\"24\" y=\"32\">{}</text>", escape(&self.title)));
        put(self.axes(&xs, &across, &ticks, &up));
        // The first series last, so that it lies on top.
        for (index, series) in self.series.iter().enumerate().rev() {
            put(line(index, series, &across, &up));
        }
        put(self.legend());
        put("</svg>".to_owned());
        Some(out)
    }

    /// What a scale can show of all series' points.
    fn values(&self, of: fn(&(f64, f64)) -> f64, scale: Scale) -> Vec<f64> {
        let all = self.series.iter().flat_map(|series| series.points.iter().map(of));
        all.filter(|value| shown(*value, scale)).collect()
    }

    fn axes(&self, xs: &[f64], across: &Place, ticks: &[f64], up: &Place) -> String {
        let mut out = String::new();
        for tick in ticks {
            let y = up.at(*tick);
            let label = number(*tick);
            out += &format!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>");
            out += &format!(
                "<text class=\"muted\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                LEFT - 8.0,
                y + 4.5
            );
        }
        out += &format!("<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>\n");
        for tick in apart(xs, across) {
            let (x, label) = (across.at(tick), number(tick));
            out += &format!(
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{BOTTOM}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
                BOTTOM + 5.0
            );
            out += &format!(
                "<text class=\"muted\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
                BOTTOM + 20.0
            );
        }
        let middle = f64::midpoint(LEFT, RIGHT);
        out += &format!(
            "<text class=\"muted\" x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            BOTTOM + 42.0,
            escape(&self.x.label)
        );
        let middle = f64::midpoint(TOP, BOTTOM);
        out += &format!(
            "<text class=\"muted\" transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(&self.y.label)
        );
        out
    }

    fn legend(&self) -> String {
        let (mut x, y) = (24.0, 58.0);
        let mut out = String::new();
        for (index, series) in self.series.iter().enumerate() {
            let colour = index % COLOURS;
            let name = escape(&series.name);
            out += &format!(
                "<g class=\"c{colour}\"><line class=\"line\" x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>",
                x + 20.0
            );
            out += &format!("<circle class=\"dot\" cx=\"{}\" cy=\"{y}\" r=\"3.5\"/></g>", x + 10.0);
            out += &format!("<text x=\"{}\" y=\"{}\">{name}</text>\n", x + 28.0, y + 4.5);
            x += 28.0 + LETTER * series.name.chars().count() as f64 + 20.0;
        }
        out
    }
}

fn line(index: usize, series: &Series, across: &Place, up: &Place) -> String {
    let drawn = |point: &&(f64, f64)| shown(point.0, across.scale) && shown(point.1, up.scale);
    let points: Vec<(f64, f64, f64)> =
        series.points.iter().filter(drawn).map(|(x, y)| (across.at(*x), up.at(*y), *y)).collect();
    let path: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
    let lead = if index == 0 { " lead" } else { "" };
    let mut out =
        format!("<g class=\"c{}\"><polyline class=\"line{lead}\" points=\"{}\"/>", index % COLOURS, path.join(" "));
    for (x, y, value) in points {
        let title = format!("{}: {}", escape(&series.name), number(value));
        out += &format!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{title}</title></circle>");
    }
    out + "</g>"
}

/// Where values lie: `from` at `start`, `to` at `end`.
struct Place {
    scale: Scale,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Place {
    fn at(&self, value: f64) -> f64 {
        let position = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.ln(),
        };
        let span = position(self.to) - position(self.from);
        let share = if span == 0.0 { 0.5 } else { (position(value) - position(self.from)) / span };
        self.start + share * (self.end - self.start)
    }
}

fn shown(value: f64, scale: Scale) -> bool {
    value.is_finite() && (scale == Scale::Linear || value > 0.0)
}

fn distinct(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// The ticks whose labels do not touch; the last is always one of them.
fn apart(xs: &[f64], across: &Place) -> Vec<f64> {
    const LEAST: f64 = 44.0;
    let mut kept: Vec<f64> = Vec::new();
    for x in xs.iter().rev() {
        if kept.last().is_none_or(|right| across.at(*right) - across.at(*x) >= LEAST) {
            kept.push(*x);
        }
    }
    kept
}

/// From 0 to at least `highest`, four to eight steps of 1, 2 or 5 times a power of ten.
fn linear_ticks(highest: f64) -> Vec<f64> {
    const STEPS_MAX: f64 = 8.0;
    let highest = if highest > 0.0 { highest } else { 1.0 };
    let power = 10f64.powf((highest / STEPS_MAX).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| highest / step <= STEPS_MAX);
    let step = step.unwrap_or(10.0 * power);
    (0..=(highest / step).ceil() as usize).map(|index| index as f64 * step).collect()
}

/// 1, 2 and 5 times the powers of ten (the powers alone over more than three of them), from at most `lowest` to at least
/// `highest`.
fn logarithmic_ticks(lowest: f64, highest: f64) -> Vec<f64> {
    let factors: &[f64] = if highest / lowest > 1000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = lowest.log10().floor() as i32..=highest.log10().ceil() as i32;
    let all: Vec<f64> = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power))).collect();
    let first = all.iter().rposition(|tick| *tick <= lowest).unwrap_or(0);
    let last = all.iter().position(|tick| *tick >= highest).unwrap_or(all.len() - 1);
    all[first..=last.max(first)].to_vec()
}

/// Short: thousands by commas, at most two decimals and no zeros at their end.
fn number(value: f64) -> String {
    let text = format!("{:.*}", if value.abs() < 10.0 { 2 } else { 0 }, value);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    match text.len() {
        0..=3 => text,
        _ if text.contains('.') => text,
        length => format!("{},{}", &text[..length - 3], &text[length - 3..]),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(y: Scale, points: &[(f64, f64)]) -> Chart {
        let axis = |label: &str, scale| Axis { label: label.to_owned(), scale };
        let series = |name: &str| Series { name: name.to_owned(), points: points.to_vec() };
        Chart {
            title: "a & b".to_owned(),
            x: axis("clients", Scale::Logarithmic),
            y: axis("tok/s", y),
            series: vec![series("one"), series("<two>")],
        }
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(linear_ticks(7.0), (0..=7).map(f64::from).collect::<Vec<_>>());
        assert_eq!(linear_ticks(1700.0), [0.0, 500.0, 1000.0, 1500.0, 2000.0]);
        assert_eq!(logarithmic_ticks(30.0, 400.0), [20.0, 50.0, 100.0, 200.0, 500.0]);
        assert_eq!(logarithmic_ticks(5.0, 90_000.0), [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert_eq!(logarithmic_ticks(50.0, 50.0), [50.0]);
    }

    #[test]
    fn values_stand_where_the_scale_puts_them() {
        let place = |scale| Place { scale, from: 1.0, to: 100.0, start: 0.0, end: 99.0 };
        assert!((place(Scale::Linear).at(34.0) - 33.0).abs() < 1e-9);
        assert!((place(Scale::Logarithmic).at(10.0) - 49.5).abs() < 1e-9);
        let one = Place { to: 1.0, ..place(Scale::Logarithmic) };
        assert!((one.at(1.0) - 49.5).abs() < 1e-9, "a single value stands in the middle");
    }

    #[test]
    fn a_chart_has_all_its_parts_and_is_well_formed() {
        let svg = chart(Scale::Linear, &[(1.0, 10.0), (8.0, 40.0), (32.0, 70.0)]).svg().expect("points");
        for part in ["a &amp; b", "&lt;two&gt;", ">clients<", ">tok/s<", ">32<", ">70<", "prefers-color-scheme"] {
            assert!(svg.contains(part), "{part}\n{svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn what_a_scale_cannot_show_is_left_out() {
        let svg = chart(Scale::Logarithmic, &[(1.0, 0.0), (2.0, f64::NAN), (4.0, 5.0)]).svg().expect("one point");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let svg = chart(Scale::Linear, &[(1.0, f64::NAN), (2.0, f64::INFINITY), (4.0, 5.0)]).svg().expect("one point");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(chart(Scale::Logarithmic, &[(1.0, 0.0)]).svg(), None);
        assert_eq!(chart(Scale::Linear, &[]).svg(), None);
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [(0.0, "0"), (0.25, "0.25"), (2.50, "2.5"), (12.34, "12"), (8000.0, "8,000")] {
            assert_eq!(number(value), expected);
        }
    }
}
