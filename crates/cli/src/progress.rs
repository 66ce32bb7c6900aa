//! Progress on the standard error: bars on a terminal, a few plain lines elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use orrery_platform::{ModelState, Platform, Progress, Step};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::Duration;

/// Shows the models' loading until all are ready.
///
/// # Errors
/// A model cannot be had or loaded.
pub async fn loading(platform: &Platform) -> anyhow::Result<()> {
    let mut show = Loading::new(std::io::stderr().is_terminal());
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let ready = platform.wait_ready();
    tokio::pin!(ready);
    loop {
        tokio::select! {
            result = &mut ready => {
                show.bars.clear().ok();
                return result.map_err(Into::into);
            }
            _ = tick.tick() => {
                for model in platform.models() {
                    if let ModelState::Loading { progress, step } = model.state
                        && let Some(line) = show.update(&model.id, step, progress) {
                        say(&line);
                    }
                }
            }
        }
    }
}

/// A line on the standard error; `eprintln!` would panic where nobody reads it any more.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What has been shown of each model.
struct Loading {
    terminal: bool,
    bars: MultiProgress,
    models: BTreeMap<String, Shown>,
}

struct Shown {
    bar: ProgressBar,
    step: &'static str,
    tenths: u32,
}

impl Loading {
    fn new(terminal: bool) -> Self {
        Self { terminal, bars: MultiProgress::new(), models: BTreeMap::new() }
    }

    /// Takes a model's progress (0 to 1) in. Off a terminal gives a line at the begin of a step and at every tenth.
    fn update(&mut self, model: &str, step: &'static str, progress: f32) -> Option<String> {
        const STEPS: f32 = 1000.0;
        let tenths = (progress * 10.0) as u32;
        let (terminal, bars) = (self.terminal, &self.bars);
        let shown = self.models.entry(model.to_owned()).or_insert_with(|| {
            let bar = if terminal { bars.add(ProgressBar::new(STEPS as u64)) } else { ProgressBar::hidden() };
            bar.set_style(style("{msg} [{bar:40}] {percent}% {elapsed}"));
            Shown { bar, step: "", tenths }
        });
        shown.bar.set_message(format!("{step} {model}"));
        shown.bar.set_position((progress * STEPS) as u64);
        let news = shown.step != step || shown.tenths < tenths;
        (shown.step, shown.tenths) = (step, tenths);
        (news && !self.terminal).then(|| format!("{step} {model}: {}%", tenths * 10))
    }
}

/// Shows one pull: bytes, rate and time left on a terminal, a line at each tenth elsewhere.
pub struct Pulling {
    bar: ProgressBar,
    terminal: bool,
    shown: Mutex<(String, u64)>,
}

impl Pulling {
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(style("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}"));
        Self { bar, terminal, shown: Mutex::default() }
    }

    /// Takes news in; called often and from any thread.
    pub fn update(&self, progress: &Progress<'_>) {
        let message = format!("{} {}", step_name(progress.step), progress.what);
        let total = progress.bytes_total.unwrap_or(0);
        self.bar.set_length(total.max(progress.bytes_done));
        self.bar.set_position(progress.bytes_done);
        let tenth = (progress.bytes_done.saturating_mul(10)).checked_div(total).unwrap_or(0);
        // A panic while this is held is impossible: nothing below can fail but printing.
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown == (message.clone(), tenth) {
            return;
        }
        if !self.terminal {
            let of = progress.bytes_total.map_or_else(String::new, |total| format!(" of {}", crate::size::show(total)));
            say(&format!("{message}: {}{of}", crate::size::show(progress.bytes_done)));
        }
        self.bar.set_message(message.clone());
        *shown = (message, tenth);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Waiting => "waiting for another pull of",
        Step::Downloading => "downloading",
        Step::Extracting => "extracting",
        Step::Copying => "copying",
    }
}

/// A bar over the windows of a text, hidden off a terminal.
pub fn windows() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(style("windows [{bar:40}] {pos}/{len} ETA {eta}"));
    bar
}

/// A style from a template of ours.
pub fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("invariant: templates are constants");
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_few() {
        let mut show = Loading::new(false);
        let lines: Vec<String> =
            (0..=1000).filter_map(|thousandth| show.update("m", "downloading", thousandth as f32 / 1000.0)).collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[0], "downloading m: 0%");
        assert_eq!(lines[10], "downloading m: 100%");
        assert_eq!(show.update("m", "loading", 0.0).as_deref(), Some("loading m: 0%"));
        assert_eq!(show.update("m", "loading", 0.0), None);
    }
}
