//! Validated settings. A value that is in [`Settings`] has been checked; commands do not check it again.

use crate::failure::Usage;
use crate::layers::{Layers, Source};
use crate::sandbox::{Mode, Sandbox};
use orrery_platform::metering::MeterSettings;
use orrery_platform::predict::PredictSettings;
use orrery_platform::training::TrainingSettings;
use orrery_platform::{FileSettings, SourceSettings};
use orrery_server::{TlsFiles, TraceSettings};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A level or directives, as tracing's `EnvFilter` reads them.
    pub filter: String,
}

/// Everything that commands take from flags, environment and file.
#[derive(Debug, Clone)]
pub struct Settings {
    pub log: Log,
    /// `HOST:PORT`; not resolved yet.
    pub listen: String,
    /// The certificate, if HTTPS is spoken; not read yet.
    pub tls: Option<TlsFiles>,
    /// Ask for keys.
    pub auth: bool,
    pub server: orrery_server::Settings,
    /// Models, sources and engines; at least one model.
    pub platform: orrery_platform::Settings,
    /// Limits on files, and where their master key is.
    pub files: FileSettings,
    /// Limits of training jobs, and the command of their workers.
    pub training: TrainingSettings,
    /// How models of the registry are run.
    pub predict: PredictSettings,
    /// The way of usage into the ledger.
    pub metering: MeterSettings,
    /// How model files are looked at before they are opened.
    pub sandbox: Sandbox,
    /// Whether this process may leave a core file, which would have prompts in it.
    pub core_dumps: bool,
}

/// The environment as a function, so that tests bring their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment. A value that is not Unicode counts as unset.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads defaults, file and environment. `config` is the path of `--config`.
///
/// # Errors
/// A file that cannot be read (the file of `--config` must exist, the one in the configuration folder need not), or a
/// bad value in it or in the environment.
pub fn layers(config: Option<&Path>, environment: Environment) -> Result<Layers, Usage> {
    let mut layers = Layers::defaults();
    let usual = || folder(environment, "XDG_CONFIG_HOME", ".config").map(|folder| folder.join("orrery.toml"));
    if let Some(path) = config.map(Path::to_owned).or_else(usual) {
        match std::fs::read_to_string(&path) {
            Ok(text) => layers.file(&path, &text)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && config.is_none() => {}
            Err(e) => return Err(Usage(format!("the configuration file {} cannot be read: {e}", path.display()))),
        }
    }
    layers.environment(environment)?;
    Ok(layers)
}

/// `$variable/orrery`, else `~/usual/orrery`.
fn folder(environment: Environment, variable: &str, usual: &str) -> Option<PathBuf> {
    let set = |name: &str| environment(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    // The XDG specification: a relative path is invalid and to be ignored.
    let base = set(variable).filter(|path| path.is_absolute()).or_else(|| set("HOME").map(|home| home.join(usual)));
    base.map(|base| base.join("orrery"))
}

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// The first bad value, with its source.
    pub fn new(layers: &Layers, environment: Environment) -> Result<Self, Usage> {
        Ok(Self {
            log: log(layers)?,
            listen: listen(layers)?,
            tls: tls(layers)?,
            auth: layers.boolean("server.auth"),
            server: server(layers)?,
            platform: platform(layers, environment)?,
            files: files(layers)?,
            training: training(layers)?,
            predict: predict(layers)?,
            metering: metering(layers, environment)?,
            sandbox: sandbox(layers)?,
            core_dumps: layers.boolean("safety.core_dumps"),
        })
    }

    /// Logs from warn unless the user chose a level: for commands whose output is a conversation or a table.
    pub fn quiet(mut self, layers: &Layers) -> Self {
        if layers.source("log") == &Source::Default {
            self.log.filter = "warn".to_owned();
        }
        self
    }
}

fn data_dir(layers: &Layers, environment: Environment) -> Result<PathBuf, Usage> {
    match layers.text("data_dir") {
        "" => folder(environment, "XDG_DATA_HOME", ".local/share").ok_or_else(|| {
            Usage("there is no home folder to keep models in; say where with --data-dir DIR".to_owned())
        }),
        path => Ok(PathBuf::from(path)),
    }
}

fn sources(layers: &Layers) -> Result<SourceSettings, Usage> {
    let address = |key: &str| {
        let text = layers.text(key).trim_end_matches('/');
        let known = text.starts_with("https://") || text.starts_with("http://");
        // The address may hold a password: it is not repeated in the message.
        if known { Ok(text.to_owned()) } else { Err(layers.refuse(key, "must be an http:// or https:// address")) }
    };
    let time = |key: &str| layers.integer(key, 1, HOUR_MS).map(Duration::from_millis);
    Ok(SourceSettings {
        hub_endpoint: address("download.hub_endpoint")?,
        hub_token: Some(layers.text("download.hub_token").to_owned()).filter(|token| !token.is_empty()),
        pypi_index: address("download.package_index")?,
        connect_timeout: time("download.connect_timeout_ms")?,
        reach_timeout: time("download.reach_timeout_ms")?,
        stall_timeout: time("download.stall_timeout_ms")?,
        retry_delay: time("download.retry_delay_ms")?,
        attempts: u32::try_from(layers.integer("download.attempts", 1, 100)?).expect("invariant: bounded above"),
        file_max_bytes: layers.size("download.file_max", 1)?,
    })
}

fn log(layers: &Layers) -> Result<Log, Usage> {
    let text = layers.text("log");
    let forms = "write text or json, a slash and a level, such as text/info or json/debug";
    let (format, filter) = text.split_once('/').ok_or_else(|| layers.refuse("log", format!("`{text}`: {forms}")))?;
    let format = match format {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(layers.refuse("log", format!("`{format}` is no format: {forms}"))),
    };
    // A word that is no level would be taken for a module's name, and everything would be silent.
    let level = |word: &str| word.contains('=') || ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    if !filter.split(',').all(level) || tracing_subscriber::EnvFilter::try_new(filter).is_err() {
        return Err(layers.refuse("log", format!("`{filter}` is no level: {forms}")));
    }
    Ok(Log { format, filter: filter.to_owned() })
}

fn listen(layers: &Layers) -> Result<String, Usage> {
    let text = layers.text("server.listen");
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if valid {
        Ok(text.to_owned())
    } else {
        Err(layers.refuse("server.listen", format!("`{text}` is not HOST:PORT; write for example 127.0.0.1:8080")))
    }
}

fn tls(layers: &Layers) -> Result<Option<TlsFiles>, Usage> {
    match (layers.text("server.tls_cert"), layers.text("server.tls_key")) {
        ("", "") => Ok(None),
        ("", _) => Err(layers.refuse("server.tls_key", "a key without its certificate; give --tls-cert PATH too")),
        (_, "") => Err(layers.refuse("server.tls_cert", "a certificate without its key; give --tls-key PATH too")),
        (certificate, key) => Ok(Some(TlsFiles { certificate: certificate.into(), key: key.into() })),
    }
}

fn server(layers: &Layers) -> Result<orrery_server::Settings, Usage> {
    let engine = |key: &str| count(layers, key, 1, 1_000_000);
    Ok(orrery_server::Settings {
        body_max_bytes: size(layers, "server.body_max", 1024)?,
        header_max_bytes: size(layers, "server.header_max", 8 * 1024)?,
        headers_max: count(layers, "server.headers_max", 10, 10_000)?,
        header_timeout_ms: layers.integer("server.header_timeout_ms", 1, HOUR_MS)?,
        body_timeout_ms: layers.integer("server.body_timeout_ms", 1, HOUR_MS)?,
        upload_rate_min_bytes: layers.size("files.rate_min", 1)?,
        write_timeout_ms: layers.integer("server.write_timeout_ms", 1, HOUR_MS)?,
        connections_max: count(layers, "server.connections_max", 1, 1_000_000)?,
        tokenize_max_bytes: size(layers, "server.tokenize_max", 4)?,
        tls_reload_ms: layers.integer("server.tls_reload_ms", 1, HOUR_MS)?,
        grace_ms: layers.integer("server.grace_ms", 0, HOUR_MS)?,
        ping_ms: layers.integer("server.ping_ms", 1, HOUR_MS)?,
        requests_max: engine("engine.queue_max")? + engine("engine.sequences_max")?,
        metrics_tenants_max: count(layers, "server.metrics_tenants_max", 1, 10_000)?,
        traces: traces(layers)?,
        limits: limits(layers)?,
    })
}

/// `None` where no collector is named.
fn traces(layers: &Layers) -> Result<Option<TraceSettings>, Usage> {
    let settings = TraceSettings {
        endpoint: traces_endpoint(layers)?,
        headers: traces_headers(layers)?,
        service_name: layers.text("telemetry.otlp_service_name").to_owned(),
        sampled_per_million: (layers.ratio("telemetry.trace_sample_ratio")? * 1e6).round() as u32,
        timeout_ms: layers.integer("telemetry.otlp_timeout_ms", 1, HOUR_MS)?,
        queue_max: count(layers, "telemetry.spans_queue_max", 1, 1_000_000)?,
        batch_max: count(layers, "telemetry.spans_batch_max", 1, 65_536)?,
        batch_ms: layers.integer("telemetry.spans_batch_ms", 0, 60_000)?,
        flush_ms: layers.integer("telemetry.spans_flush_ms", 0, HOUR_MS)?,
    };
    Ok(Some(settings).filter(|settings| !settings.endpoint.is_empty()))
}

fn traces_endpoint(layers: &Layers) -> Result<String, Usage> {
    const PATH: &str = "/v1/traces";
    let text = layers.text("telemetry.otlp_endpoint").trim_end_matches('/');
    match text {
        "" => Ok(String::new()),
        _ if !text.starts_with("http://") && !text.starts_with("https://") => Err(layers.refuse(
            "telemetry.otlp_endpoint",
            "must be an http:// or https:// address, such as http://127.0.0.1:4318 (OTLP over HTTP; gRPC is not spoken)",
        )),
        _ if text.ends_with(PATH) => Ok(text.to_owned()),
        _ => Ok(format!("{text}{PATH}")),
    }
}

fn traces_headers(layers: &Layers) -> Result<Vec<(String, String)>, Usage> {
    let key = "telemetry.otlp_headers";
    let pair = |text: String| match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        // A value may be a secret: it is not repeated in the message.
        _ => Err(layers.refuse(key, "each must be NAME=VALUE, such as authorization=Bearer TOKEN")),
    };
    layers.list(key)?.into_iter().filter(|text| !text.is_empty()).map(pair).collect()
}

/// Limits that the API tells and the engine holds.
fn limits(layers: &Layers) -> Result<orrery_server::Limits, Usage> {
    Ok(orrery_server::Limits {
        choices_max: count(layers, "engine.choices_max", 1, 1024)?,
        logprobs_max: count(layers, "engine.logprobs_max", 0, 1000)?,
        stop_strings_max: count(layers, "engine.stop_strings_max", 0, 1024)?,
        stop_bytes_max: count(layers, "engine.stop_bytes_max", 1, 65_536)?,
    })
}

fn platform(layers: &Layers, environment: Environment) -> Result<orrery_platform::Settings, Usage> {
    let models = layers.list("models")?;
    if models.iter().all(String::is_empty) {
        return Err(layers.refuse("models", "name at least one model, such as smollm2-135m-instruct"));
    }
    let threads = count(layers, "engine.threads", 0, 1024)?;
    let limits = limits(layers)?;
    Ok(orrery_platform::Settings {
        data_dir: data_dir(layers, environment)?,
        models,
        sources: sources(layers)?,
        isa: isa(layers)?,
        threads: (threads > 0).then_some(threads),
        kv_memory_bytes: layers.size("engine.kv_memory", 64 << 10)?,
        quantize_q8_0: quantize_q8_0(layers)?,
        queue_max: count(layers, "engine.queue_max", 1, 1_000_000)?,
        sequences_max: count(layers, "engine.sequences_max", 1, 65_536)?,
        step_tokens_max: count(layers, "engine.step_tokens_max", 1, 65_536)?,
        step_logits_max: count(layers, "engine.step_logits_max", 1, 65_536)?,
        step_target_ms: layers.integer("engine.step_target_ms", 0, 60_000)?,
        prefix_cache: layers.boolean("engine.prefix_cache"),
        speculation_ngram: speculation_ngram(layers)?,
        draft_tokens_max: count(layers, "engine.draft_tokens_max", 1, 1024)?,
        draft_match_min: count(layers, "engine.draft_match_min", 1, 8)?,
        draft_window: count(layers, "engine.draft_window", 1, 1_000_000)?,
        generated_token_cost: count(layers, "engine.generated_token_cost", 1, 1000)?,
        burst_tokens: count(layers, "engine.burst_tokens", 0, 1_000_000)?,
        choices_max: limits.choices_max,
        logprobs_max: limits.logprobs_max,
        stop_strings_max: limits.stop_strings_max,
        stop_bytes_max: limits.stop_bytes_max,
        admissions_max: count(layers, "server.admissions_max", 1, 1_000_000)?,
        // Its process is started by `local`, for what runs there.
        vetting: orrery_platform::Vetting::default(),
    })
}

fn metering(layers: &Layers, environment: Environment) -> Result<MeterSettings, Usage> {
    let segment_bytes = layers.size("metering.segment", 1 << 16)?;
    let journal_max_bytes = layers.size("metering.journal_max", 1 << 17)?;
    if segment_bytes > 1 << 30 {
        return Err(layers.refuse("metering.segment", "must be 1GiB or less"));
    }
    if journal_max_bytes < 2 * segment_bytes {
        return Err(layers.refuse("metering.journal_max", "must be at least twice metering.segment"));
    }
    Ok(MeterSettings {
        write_ms: layers.integer("metering.write_ms", 1, 60_000)?,
        sync_ms: layers.integer("metering.sync_ms", 1, 60_000)?,
        batch_ms: layers.integer("metering.batch_ms", 0, 60_000)?,
        segment_bytes,
        journal_max_bytes,
        ..MeterSettings::new(&data_dir(layers, environment)?)
    })
}

fn files(layers: &Layers) -> Result<FileSettings, Usage> {
    Ok(FileSettings {
        file_max_bytes: layers.size("files.upload_max", 1)?,
        quota_bytes: layers.size("files.quota", 0)?,
        uploads_max: count(layers, "files.uploads_max", 1, 10_000)?,
        tenant_uploads_max: count(layers, "files.tenant_uploads_max", 1, 10_000)?,
        models_quota_bytes: layers.size("files.models_quota", 0)?,
        retained_quota_bytes: layers.size("files.retained_quota", 0)?,
        retained_queue_bytes: size(layers, "files.retained_queue", 0)?,
        master_key: Some(layers.text("files.master_key")).filter(|path| !path.is_empty()).map(PathBuf::from),
    })
}

fn training(layers: &Layers) -> Result<TrainingSettings, Usage> {
    let milliseconds = |key: &str, least| Ok(Duration::from_millis(layers.integer(key, least, HOUR_MS)?));
    let few = |key: &str, most| Ok::<u32, Usage>(layers.integer(key, 1, most)?.try_into().unwrap_or(u32::MAX));
    Ok(TrainingSettings {
        workers: count(layers, "training.workers", 0, 1_000)?,
        tenant_workers: few("training.tenant_workers", 1_000)?,
        tenant_queue_max: count(layers, "training.tenant_queue_max", 0, 500)?,
        attempts_max: few("training.attempts_max", 100)?,
        lease: milliseconds("training.lease_ms", 1_000)?,
        time_max: Duration::from_secs(layers.integer("training.time_max_s", 1, 10_000_000)?),
        memory_max_bytes: layers.size("training.memory_max", 64 << 20)?,
        disk_max_bytes: layers.size("training.disk_max", 1 << 20)?,
        file_max_bytes: layers.size("training.file_max", 1)?,
        grace: milliseconds("training.grace_ms", 0)?,
        command: worker()?,
    })
}

fn predict(layers: &Layers) -> Result<PredictSettings, Usage> {
    let mut settings = PredictSettings {
        library: Some(layers.text("predict.library")).filter(|path| !path.is_empty()).map(PathBuf::from),
        ..PredictSettings::default()
    };
    settings.model.threads = count(layers, "predict.threads", 0, 1_024)?;
    settings.model.batch_max = count(layers, "predict.batch_max", 1, 100_000)?;
    settings.model.queue_max = count(layers, "predict.queue_max", 1, 1_000_000)?;
    settings.model.run_ms_max = layers.integer("predict.run_ms_max", 1, HOUR_MS)?;
    settings.model.request_bytes_max = size(layers, "predict.request_max", 1)?;
    settings.model.file_bytes_max = layers.size("predict.file_max", 1)?;
    settings.shelf.memory_bytes_max = layers.size("predict.memory_max", 1 << 20)?;
    Ok(settings)
}

/// This program, as a worker.
fn worker() -> Result<Vec<PathBuf>, Usage> {
    let program =
        std::env::current_exe().map_err(|error| Usage(format!("cannot find this program's own file: {error}")))?;
    Ok(vec![program, PathBuf::from("train-worker")])
}

fn sandbox(layers: &Layers) -> Result<Sandbox, Usage> {
    let mode = match layers.text("safety.sandbox") {
        "require" => Mode::Require,
        "prefer" => Mode::Prefer,
        "off" => Mode::Off,
        name => return Err(layers.refuse("safety.sandbox", format!("`{name}` is not one of require, prefer, off"))),
    };
    Ok(Sandbox {
        mode,
        memory_max_bytes: layers.size("safety.sandbox_memory", 128 << 20)?,
        cpu_max_s: layers.integer("safety.sandbox_cpu_s", 1, 3_600)?,
        timeout_ms: layers.integer("safety.sandbox_timeout_ms", 1, HOUR_MS)?,
    })
}

fn isa(layers: &Layers) -> Result<Option<String>, Usage> {
    match layers.text("engine.isa") {
        "auto" => Ok(None),
        name @ ("scalar" | "avx2" | "avx512" | "avx512bf16" | "amx") => Ok(Some(name.to_owned())),
        name => {
            Err(layers
                .refuse("engine.isa", format!("`{name}` is not one of auto, scalar, avx2, avx512, avx512bf16, amx")))
        }
    }
}

fn speculation_ngram(layers: &Layers) -> Result<bool, Usage> {
    match layers.text("engine.speculation") {
        "off" => Ok(false),
        "ngram" => Ok(true),
        name => Err(layers.refuse("engine.speculation", format!("`{name}` is not one of off, ngram"))),
    }
}

fn quantize_q8_0(layers: &Layers) -> Result<bool, Usage> {
    match layers.text("engine.quantize") {
        "none" => Ok(false),
        "q8_0" => Ok(true),
        name => Err(layers.refuse("engine.quantize", format!("`{name}` is not one of none, q8_0"))),
    }
}

fn count(layers: &Layers, key: &str, least: u64, most: u64) -> Result<usize, Usage> {
    Ok(usize::try_from(layers.integer(key, least, most)?).expect("invariant: bounded above"))
}

fn size(layers: &Layers, key: &str, least: u64) -> Result<usize, Usage> {
    usize::try_from(layers.size(key, least)?).map_err(|_| layers.refuse(key, "more than this machine can address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/ada".to_owned())
    }

    fn settings(flag: &'static str, key: &str, value: &str) -> Result<Settings, Usage> {
        let mut layers = Layers::defaults();
        layers.flag(flag, key, Some(value)).expect("a string");
        Settings::new(&layers, &home)
    }

    #[test]
    fn the_reference_file_is_the_default_of_every_crate() {
        let settings = Settings::new(&Layers::defaults(), &home).expect("the defaults are valid");
        assert_eq!(settings.server, orrery_server::Settings::default());
        assert_eq!(settings.listen, "127.0.0.1:8080");
        assert_eq!(settings.files, FileSettings::default());
        let command = settings.training.command.clone();
        assert_eq!(settings.training, TrainingSettings { command, ..TrainingSettings::default() });
        assert_eq!(settings.predict, PredictSettings::default());
        let sandbox = Sandbox { mode: Mode::Prefer, memory_max_bytes: 1 << 30, cpu_max_s: 20, timeout_ms: 30_000 };
        assert_eq!((settings.sandbox, settings.core_dumps), (sandbox, false));
        assert_eq!(settings.metering, MeterSettings::new(Path::new("/home/ada/.local/share/orrery")));
        assert_eq!(settings.platform.data_dir, Path::new("/home/ada/.local/share/orrery"));
        let data_dir = settings.platform.data_dir.clone();
        let platform = orrery_platform::Settings { data_dir, ..orrery_platform::Settings::default() };
        assert_eq!(format!("{:#?}", settings.platform), format!("{platform:#?}"));
    }

    #[test]
    fn bad_values_are_refused_with_the_way_out() {
        for (flag, key, value, part) in [
            ("--isa", "engine.isa", "sse", "`sse` is not one of auto"),
            ("--quantize", "engine.quantize", "q3", "not one of none, q8_0"),
            ("--speculation", "engine.speculation", "on", "`on` is not one of off, ngram"),
            ("--kv-memory", "engine.kv_memory", "1kB", "less than the least"),
            ("--listen", "server.listen", "8080", "is not HOST:PORT"),
            ("--listen", "server.listen", "h:99999", "is not HOST:PORT"),
            ("--tls-cert", "server.tls_cert", "a.pem", "give --tls-key PATH too"),
            ("--tls-key", "server.tls_key", "b.pem", "give --tls-cert PATH too"),
            ("--sandbox", "safety.sandbox", "on", "`on` is not one of require"),
            ("--log", "log", "info", "such as text/info"),
            ("--log", "log", "xml/info", "`xml` is no format"),
            ("--log", "log", "text/loud", "`loud` is no level"),
            ("--log", "log", "text/", "is no level"),
        ] {
            let message = settings(flag, key, value).expect_err(value).0;
            assert!(message.starts_with(flag) && message.contains(part), "{message}");
        }
        let mut layers = Layers::defaults();
        layers.file(Path::new("a.toml"), "models = []\n[engine]\nthreads = -1").expect("types are right");
        assert!(
            Settings::new(&layers, &home).expect_err("no model").0.contains("`models` (a.toml): name at least one")
        );
    }

    #[test]
    fn integers_have_bounds() {
        let mut layers = Layers::defaults();
        layers.file(Path::new("a.toml"), "[engine]\nthreads = -1").expect("types are right");
        let message = Settings::new(&layers, &home).expect_err("negative").0;
        assert_eq!(message, "`engine.threads` (a.toml): -1 is not between 0 and 1024");
    }

    #[test]
    fn limits_reach_both_who_tell_and_who_hold_them() {
        let mut layers = Layers::defaults();
        let text = "[engine]\nchoices_max = 3\nlogprobs_max = 5\nstop_strings_max = 7\nstop_bytes_max = 9\n\
                    step_tokens_max = 11\nstep_logits_max = 13\nstep_target_ms = 15";
        layers.file(Path::new("a.toml"), text).expect("types are right");
        let Settings { server, platform, .. } = Settings::new(&layers, &home).expect("valid");
        let limits = server.limits;
        let told = (limits.choices_max, limits.logprobs_max, limits.stop_strings_max, limits.stop_bytes_max);
        assert_eq!(told, (3, 5, 7, 9));
        let held = (platform.choices_max, platform.logprobs_max, platform.stop_strings_max, platform.stop_bytes_max);
        assert_eq!(held, told);
        assert_eq!((platform.step_tokens_max, platform.step_logits_max, platform.step_target_ms), (11, 13, 15));
    }

    #[test]
    fn speculation_reaches_the_engine() {
        let mut layers = Layers::defaults();
        let text = "[engine]\nspeculation = \"ngram\"\ndraft_tokens_max = 3\ndraft_match_min = 4\ndraft_window = 5";
        layers.file(Path::new("a.toml"), text).expect("types are right");
        let platform = Settings::new(&layers, &home).expect("valid").platform;
        let drafts = (platform.draft_tokens_max, platform.draft_match_min, platform.draft_window);
        assert_eq!((platform.speculation_ngram, drafts), (true, (3, 4, 5)));
        layers.file(Path::new("b.toml"), "[engine]\ndraft_match_min = 9").expect("types are right");
        let message = Settings::new(&layers, &home).expect_err("too long").0;
        assert_eq!(message, "`engine.draft_match_min` (b.toml): 9 is not between 1 and 8");
    }

    #[test]
    fn what_flows_share_by_reaches_the_engine() {
        let mut layers = Layers::defaults();
        let text = "[engine]\ngenerated_token_cost = 3\nburst_tokens = 0";
        layers.file(Path::new("a.toml"), text).expect("types are right");
        let platform = Settings::new(&layers, &home).expect("valid").platform;
        assert_eq!((platform.generated_token_cost, platform.burst_tokens), (3, 0));
    }

    #[test]
    fn traces_are_off_until_they_have_an_endpoint() {
        let traces = |text: &str| {
            let mut layers = Layers::defaults();
            layers.file(Path::new("a.toml"), &format!("[telemetry]\n{text}")).expect("types are right");
            Settings::new(&layers, &home).map(|settings| settings.server.traces)
        };
        assert_eq!(traces("trace_sample_ratio = 0.5"), Ok(None));
        let to = |endpoint: &str| Some(TraceSettings::to(endpoint));
        assert_eq!(traces("otlp_endpoint = \"http://c:4318/\""), Ok(to("http://c:4318/v1/traces")));
        assert_eq!(traces("otlp_endpoint = \"https://c/x/v1/traces\""), Ok(to("https://c/x/v1/traces")));
        let set =
            traces("otlp_endpoint = \"http://c\"\notlp_headers = [\"a=b=c\"]\ntrace_sample_ratio = 0").expect("valid");
        let set = set.expect("an endpoint");
        assert_eq!((set.headers, set.sampled_per_million), (vec![("a".to_owned(), "b=c".to_owned())], 0));
        for (text, part) in [
            ("otlp_endpoint = \"c:4317\"", "`telemetry.otlp_endpoint` (a.toml): must be an http://"),
            ("otlp_headers = [\"secret\"]", "each must be NAME=VALUE"),
            ("trace_sample_ratio = 1.5", "1.5 is not between 0 and 1"),
            ("spans_queue_max = 0", "0 is not between 1 and"),
        ] {
            let message = traces(text).expect_err(text).0;
            assert!(message.contains(part) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn limits_that_let_nothing_run_are_refused() {
        for key in ["queue_max", "sequences_max", "step_tokens_max", "step_logits_max", "choices_max", "stop_bytes_max"]
        {
            let mut layers = Layers::defaults();
            layers.file(Path::new("a.toml"), &format!("[engine]\n{key} = 0")).expect("types are right");
            let message = Settings::new(&layers, &home).expect_err(key).0;
            assert!(message.starts_with(&format!("`engine.{key}` (a.toml): 0 is not between 1 and ")), "{message}");
        }
    }

    #[test]
    fn folders_follow_xdg() {
        let variables = |name: &str| match name {
            "HOME" => Some("/home/ada".to_owned()),
            "XDG_DATA_HOME" => Some("/data".to_owned()),
            "XDG_CONFIG_HOME" => Some("relative".to_owned()),
            _ => None,
        };
        assert_eq!(folder(&variables, "XDG_DATA_HOME", "x"), Some(PathBuf::from("/data/orrery")));
        assert_eq!(folder(&variables, "XDG_CONFIG_HOME", ".config"), Some(PathBuf::from("/home/ada/.config/orrery")));
        assert!(data_dir(&Layers::defaults(), &|_| None).expect_err("no home").0.contains("--data-dir"));
    }

    #[test]
    fn a_named_file_must_exist_and_the_usual_one_need_not() {
        let message = layers(Some(Path::new("/nonexistent/a.toml")), &home).expect_err("missing").0;
        assert!(message.contains("/nonexistent/a.toml cannot be read"));
        assert!(layers(None, &|_| None).is_ok());
    }
}
