//! The raw command line, as clap reads it. Nothing is checked or defaulted here: `config` turns flags, environment and
//! file into validated settings.

use crate::failure::Usage;
use crate::layers::Layers;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  orrery serve                                  serve the default model at http://127.0.0.1:8080
  orrery chat \"Why is the sky blue?\"            ask once
  orrery pull hf:Qwen/Qwen2.5-0.5B-Instruct     fetch a model
  orrery bench --clients 64                     measure

Settings come from flags, then ORRERY_* variables, then the configuration file, then the defaults
(config/orrery.toml lists every key).

Exit codes: 0 success, 1 failure, 2 wrong usage or configuration, 130 interrupted.";

/// Models as a service: keeps, serves and measures language models behind the OpenAI API.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: $XDG_CONFIG_HOME/orrery/orrery.toml, if there is one]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Folder in which models are kept [default: $XDG_DATA_HOME/orrery]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub data_dir: Option<PathBuf>,
    /// Log on the standard error: text or json, then a level such as info or debug
    #[arg(long, global = true, value_name = "FORMAT/LEVEL", help_heading = "Global options")]
    pub log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve models over HTTP
    Serve(Serve),
    /// Fetch a model into the data folder
    Pull(Pull),
    /// List the models of the data folder and of the catalogue
    List(List),
    /// Remove models from the data folder
    Rm(Remove),
    /// Look at a model's files before anything opens them
    Check(Check),
    /// What `check` and `serve` start to look at a model
    #[command(hide = true)]
    CheckModel(CheckModel),
    /// Train a model on a file of rows, and keep it in the registry
    Train(Train),
    /// What `serve` and `train` start to train a model
    #[command(hide = true)]
    TrainWorker,
    /// Make, list, show and revoke keys
    Key(Key),
    /// Make, list, change and erase tenants
    Tenant(Tenant),
    /// The price list
    Price(Price),
    /// Who used what
    Usage(UsageArguments),
    /// Read and verify the log of what administrators did
    Audit(Audit),
    /// The keys under which files are encrypted
    Vault(Vault),
    /// Talk to a model
    Chat(Chat),
    /// Measure a server's latency and throughput under load
    Bench(Bench),
    /// Measure a model's quality
    Eval(Eval),
    /// Print the completion script of a shell
    Completions(Completions),
}

/// Which models, and how they are computed.
#[derive(Debug, Default, Args)]
pub struct EngineFlags {
    /// Model by catalogue name, hf:ORG/REPO[:FILE], https:// address or path; may be repeated. The id of a path is its
    /// file stem [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    pub model: Vec<String>,
    /// Instruction set: scalar, avx2, avx512, avx512bf16 or amx; the results are the same bits [default: the best there is]
    #[arg(long, value_name = "NAME")]
    pub isa: Option<String>,
    /// Compute threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Memory of the KV cache of each model, such as 512MB or 2GiB [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub kv_memory: Option<String>,
    /// Quantise the weights of a Hugging Face folder on load: q8_0
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<String>,
    /// Speculation: off, or ngram (prompt lookup), which changes no result and speeds up replies that repeat their prompt
    /// or themselves [default: off]
    #[arg(long, value_name = "KIND")]
    pub speculation: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery serve
  orrery serve --listen 0.0.0.0:9000 --model ./my-model.gguf --kv-memory 4GiB
  orrery serve --listen 0.0.0.0:8443 --tls-cert chain.pem --tls-key key.pem

Prints `listening on …` once the socket is open (/health answers 503 while models load) and `ready: …` when requests can
come. SIGINT or SIGTERM drains and exits with 0; a second one exits at once with 130.")]
pub struct Serve {
    /// Address to listen on; port 0 takes a free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Certificate chain (PEM) to serve HTTPS with; a new one in its place is taken over without a restart
    #[arg(long, value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "PATH")]
    pub tls_key: Option<PathBuf>,
    /// Ask for no keys: whoever reaches the server may do everything. On this machine's own addresses only
    #[arg(long)]
    pub no_auth: bool,
    #[command(flatten)]
    pub engine: EngineFlags,
    /// Requests that may wait for a model; one more is answered with 429 [default: 1024]
    #[arg(long, value_name = "N")]
    pub queue_max: Option<u32>,
    /// Send traces to this collector, by OTLP over HTTP, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How long running requests may go on after a signal to stop [default: 30000]
    #[arg(long, value_name = "MS")]
    pub grace_ms: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery pull smollm2-135m-instruct
  orrery pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q8_0.gguf
  orrery pull https://example.org/model.gguf
  orrery pull ./model.gguf

HF_ENDPOINT, HF_TOKEN and PIP_INDEX_URL are honoured.")]
pub struct Pull {
    /// Catalogue name, hf:ORG/REPO[:FILE], https:// address or path
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<String>,
}

#[derive(Debug, Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// Names as `orrery list` shows them
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery check ./model.gguf
  orrery check ./Qwen2.5-0.5B-Instruct --json

Reads everything but the weights, in a process of its own that can read these files and do nothing else. Exit code 0: good.")]
pub struct Check {
    /// A GGUF file or a Hugging Face folder
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery train iris.csv --task tabular-classification --target species
  orrery train houses.parquet --task tabular-regression --target price --algorithm mlp --set epochs=50 --name houses
  orrery train mails.jsonl --task text-classification --target label --algorithm gru --json

Without --url the job runs here, and the model goes into the registry of the data folder's tenant `default`. The model answers under its
name; --no-deploy keeps it apart, under NAME@VERSION.")]
pub struct Train {
    /// CSV, JSONL or Parquet; for pictures a zip or tar with a folder for each class
    pub data: PathBuf,
    /// tabular-classification, tabular-regression, time-series-forecasting, text-classification or image-classification
    #[arg(long, value_name = "TASK")]
    pub task: String,
    /// The column that is to be told
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// The columns it is told from [default: all others]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Rows for validation [default: a part of DATA]
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// An algorithm's name, or auto: the best of several
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub algorithm: String,
    /// A hyper-parameter; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// What candidates are compared by [default: log_loss or rmse]
    #[arg(long, value_name = "NAME")]
    pub metric: Option<String>,
    /// The same seed and data make the same model
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The model's name [default: the file's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Lead no alias to the new version
    #[arg(long)]
    pub no_deploy: bool,
    /// Print the finished job as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target_server: Target,
}

#[derive(Debug, Args)]
pub struct CheckModel {
    pub path: PathBuf,
    /// Bytes
    #[arg(long)]
    pub memory: u64,
    #[arg(long)]
    pub cpu_s: u64,
    /// Refuse where a side of the sandbox stays open
    #[arg(long)]
    pub require: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery key show
  orrery key create --name ci --role inference
  orrery key create --name team-a --tenant ten_0123456789abcdef --expires 90d
  orrery key list
  orrery key revoke key_0123456789abcdef

These work on the data folder, also while a server runs on it: it takes a change over within a second.")]
pub struct Key {
    #[command(subcommand)]
    pub what: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print the first key of the data folder
    Show,
    /// Make a key and print it; it cannot be printed again
    Create(KeyCreate),
    /// List the keys, without their texts
    List(KeyList),
    /// Revoke a key for good
    Revoke(KeyRevoke),
}

#[derive(Debug, Args)]
pub struct KeyCreate {
    /// A name for people
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// platform_admin, tenant_admin, developer or inference
    #[arg(long, value_name = "ROLE", default_value = "inference")]
    pub role: String,
    /// Whose key it is [default: the first tenant's]
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
    /// After how long it expires, such as 12h or 90d [default: never]
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct KeyList {
    /// Of this tenant alone
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct KeyRevoke {
    /// Ids as `orrery key list` shows them
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery tenant create research --month-tokens 50000000 --redact-request mask
  orrery tenant list
  orrery tenant set ten_0123456789abcdef --weight 200 --requests-per-minute none
  orrery tenant erase ten_0123456789abcdef

Bounds are numbers, or none.")]
pub struct Tenant {
    #[command(subcommand)]
    pub what: TenantCommand,
}

#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant and print its id
    Create {
        /// A name for people
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        change: TenantFlags,
    },
    /// List the tenants
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a tenant; what is not named stays
    Set {
        #[arg(value_name = "ID")]
        id: String,
        /// A new name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Refuse its keys, or take them again
        #[arg(long, value_name = "BOOL")]
        suspended: Option<bool>,
        #[command(flatten)]
        change: TenantFlags,
    },
    /// Erase what is known of a tenant: its name, its keys, what was kept; the ledger keeps ids and numbers
    Erase {
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct TenantFlags {
    /// Its share of the machine beside others', 1 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub weight: Option<u32>,
    /// KV blocks that are kept for it
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub kv_floor: Option<u32>,
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<String>,
    #[arg(long, value_name = "N")]
    pub tokens_per_minute: Option<String>,
    #[arg(long, value_name = "N")]
    pub concurrent_requests: Option<String>,
    #[arg(long, value_name = "PERCENT")]
    pub queue_share: Option<String>,
    /// Tokens of a calendar month
    #[arg(long, value_name = "N")]
    pub month_tokens: Option<String>,
    /// Cost of a calendar month, in the currency of the price list
    #[arg(long, value_name = "AMOUNT")]
    pub month_cost: Option<String>,
    /// Personal data in requests: off, mask or refuse
    #[arg(long, value_name = "MODE")]
    pub redact_request: Option<String>,
    /// Personal data in answers: off, mask or refuse
    #[arg(long, value_name = "MODE")]
    pub redact_response: Option<String>,
    /// Keep requests and answers for so many days, encrypted; 0 keeps nothing and deletes what is kept
    #[arg(long, value_name = "DAYS")]
    pub retention_days: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery vault rotate
  orrery vault rotate --only master

A new data key is for what is stored from now on: files that are there stay readable by the one before. A new master key
wraps all data keys again, and the one before is deleted. Servers on the data folder go on meanwhile.")]
pub struct Vault {
    #[command(subcommand)]
    pub what: VaultCommand,
}

#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Replace the keys
    Rotate {
        /// Only these
        #[arg(long, value_name = "KEYS")]
        only: Option<VaultKeys>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum VaultKeys {
    Data,
    Master,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery price set smollm2-135m-instruct --input 0.10 --cached 0.01 --output 0.40
  orrery price list

Prices are for a million tokens, in a currency of your choice, with at most three decimals.")]
pub struct Price {
    #[command(subcommand)]
    pub what: PriceCommand,
}

#[derive(Debug, Subcommand)]
pub enum PriceCommand {
    /// List the prices
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a model's price
    Set {
        #[arg(value_name = "MODEL")]
        model: String,
        /// A million input tokens
        #[arg(long, value_name = "AMOUNT")]
        input: String,
        /// A million input tokens that the prefix cache has [default: as --input]
        #[arg(long, value_name = "AMOUNT")]
        cached: Option<String>,
        /// A million output tokens
        #[arg(long, value_name = "AMOUNT")]
        output: String,
    },
    /// Remove a model's price: it is free from now on
    Rm {
        #[arg(value_name = "MODEL")]
        model: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery usage
  orrery usage --by tenant,model --since 30d
  orrery usage --by day --tenant ten_0123456789abcdef --csv > usage.csv")]
pub struct UsageArguments {
    /// Columns to sum by: tenant, key, model, day
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', default_value = "tenant,model")]
    pub by: Vec<String>,
    /// Of this tenant alone
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
    /// Of this key alone
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// Of this model alone
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// How far back, such as 24h or 30d [default: everything]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV
    #[arg(long)]
    pub csv: bool,
}

#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    pub what: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Print the log, newest first
    List {
        /// Rows
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// About this tenant alone
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Check that every row is as it was written; exit code 1 if not
    Verify,
}

/// Which server a client command talks to.
#[derive(Debug, Default, Args)]
pub struct Target {
    /// Server with an OpenAI-compatible API, such as https://host or http://host:8000/v1
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Key for the server [default: $OPENAI_API_KEY for the server of --url; else $ORRERY_API_KEY, or the first key of the
    /// data folder]
    #[arg(long, value_name = "KEY", hide_default_value = true)]
    pub api_key: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery chat
  orrery chat \"Name three moons of Jupiter.\"
  git diff | orrery chat \"Write a commit message for this change.\"
  orrery chat --url https://api.example.org --model some-model

Without --url a server that runs at the configured address is used; when there is none, chat starts an engine of its own.")]
pub struct Chat {
    /// Ask this and exit; what is piped in is put after it
    #[arg(value_name = "PROMPT")]
    pub prompt: Option<String>,
    #[command(flatten)]
    pub target: Target,
    /// System message
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Most tokens of a reply [default: what the context has room for]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// 0 always takes the most probable token [default: the server's]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Makes a reply repeatable
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where a running server is looked for [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "url")]
    pub listen: Option<String>,
    #[command(flatten)]
    pub engine: EngineFlags,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  orrery bench --url http://127.0.0.1:8080 --clients 64 --requests 256
  orrery bench --url http://host:8000 --model m --rate 4 --requests 200 --json
  orrery bench --clients 8
  orrery bench engine
  orrery bench roofline

Without --url a server that runs at the configured address is measured; when there is none, an engine of its own.


TTFT is from sending a request, on a connection of its own, to the first chunk with output; ITL the time between such
chunks; E2E from sending to the last of them; TPOT (E2E - TTFT) / (output tokens - 1). Throughputs are sums over all
successful requests divided by the time from the first request sent to the last reply. Tokens are those of the server's
`usage`.
Exit code 1 if any request failed.")]
pub struct Bench {
    /// Measure something else than a server
    #[command(subcommand)]
    pub what: Option<Measured>,
    #[command(flatten)]
    pub target: Target,
    /// Requests in flight at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub clients: u32,
    /// Requests in all [default: 4 for each client]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: Option<u32>,
    /// Tokens of each prompt (exact where the server can tokenize, else words)
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub input_tokens: u32,
    /// Tokens of each reply
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub output_tokens: u32,
    /// Requests per second, at random (Poisson) times; --clients still bounds those in flight [default: each client
    /// sends as soon as it has its reply]
    #[arg(long, value_name = "RPS")]
    pub rate: Option<f64>,
    /// Requests before the measurement
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub warmup: u32,
    /// Let replies end where the model ends them
    #[arg(long)]
    pub stop_at_eos: bool,
    /// Use /v1/chat/completions instead of /v1/completions
    #[arg(long)]
    pub chat: bool,
    /// Seed of prompts and times
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineFlags,
}

#[derive(Debug, Subcommand)]
pub enum Measured {
    /// Measure the engine alone, in this process and without HTTP
    Engine(BenchEngine),
    /// Measure what this machine can do at best: multiply-adds, and bytes from cache and memory
    Roofline(BenchRoofline),
}

#[derive(Debug, Args)]
#[command(after_help = "\
lanes: multiply-adds of the vector registers. tiles: those of AMX tiles, loads included. cached: bytes read from the
second-level cache. memory: bytes read from memory. A kernel is no faster than its multiply-adds over the first or its bytes
over the last.")]
pub struct BenchRoofline {
    /// Instruction set: scalar, avx2, avx512, avx512bf16 or amx [default: the best there is]
    #[arg(long, value_name = "NAME")]
    pub isa: Option<String>,
    /// Compute threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery bench engine
  orrery bench engine --isa avx2 --threads 1 --rounds 5 --json

Every round takes fresh random token ids, so that nothing comes from the prefix cache. Figures are medians over the rounds.
prefill: prompt tokens / time to the first token. decode: tokens after the first / time after the first. 32 sequences:
tokens generated / time from the first prompt given to the last token, prefill included.")]
pub struct BenchEngine {
    /// How often each figure is taken
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Seed of the token ids
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineFlags,
}

#[derive(Debug, Args)]
pub struct Eval {
    #[command(subcommand)]
    pub what: Evaluation,
}

#[derive(Debug, Subcommand)]
pub enum Evaluation {
    /// Perplexity of a model on a text
    Perplexity(Perplexity),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  orrery eval perplexity --text moby-dick.txt --window 512")]
pub struct Perplexity {
    /// UTF-8 text file
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Tokens per window; every window starts afresh
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub window: u32,
    /// Score the first N tokens only [default: the whole text]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub tokens: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineFlags,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery completions bash > ~/.local/share/bash-completion/completions/orrery
  orrery completions zsh > ~/.zfunc/_orrery
  orrery completions fish > ~/.config/fish/completions/orrery.fish")]
pub struct Completions {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

impl Arguments {
    /// Lays the flags that stand for configuration keys over `layers`.
    ///
    /// # Errors
    /// A value that a key cannot take.
    pub fn lay(&self, layers: &mut Layers) -> Result<(), Usage> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        layers.flag("--data-dir", "data_dir", self.global.data_dir.as_ref().map(path))?;
        layers.flag("--log", "log", self.global.log.clone())?;
        match &self.command {
            Command::Serve(serve) => {
                layers.flag("--listen", "server.listen", serve.listen.clone())?;
                layers.flag("--tls-cert", "server.tls_cert", serve.tls_cert.as_ref().map(path))?;
                layers.flag("--tls-key", "server.tls_key", serve.tls_key.as_ref().map(path))?;
                layers.flag("--no-auth", "server.auth", serve.no_auth.then_some(false))?;
                layers.flag("--queue-max", "engine.queue_max", serve.queue_max)?;
                layers.flag("--grace-ms", "server.grace_ms", serve.grace_ms)?;
                layers.flag("--otlp-endpoint", "telemetry.otlp_endpoint", serve.otlp_endpoint.clone())?;
                serve.engine.lay(layers)
            }
            Command::Chat(chat) => {
                layers.flag("--listen", "server.listen", chat.listen.clone())?;
                chat.engine.lay(layers)
            }
            Command::Bench(Bench { what: Some(Measured::Engine(engine)), .. }) => engine.engine.lay(layers),
            Command::Bench(Bench { what: Some(Measured::Roofline(roofline)), .. }) => {
                layers.flag("--isa", "engine.isa", roofline.isa.clone())?;
                layers.flag("--threads", "engine.threads", roofline.threads)
            }
            Command::Bench(bench) => bench.engine.lay(layers),
            Command::Eval(Eval { what: Evaluation::Perplexity(perplexity) }) => perplexity.engine.lay(layers),
            Command::Key(_)
            | Command::Tenant(_)
            | Command::Price(_)
            | Command::Usage(_)
            | Command::Audit(_)
            | Command::Vault(_)
            | Command::Pull(_)
            | Command::List(_)
            | Command::Rm(_)
            | Command::Check(_)
            | Command::CheckModel(_)
            | Command::Train(_)
            | Command::TrainWorker
            | Command::Completions(_) => Ok(()),
        }
    }
}

impl EngineFlags {
    fn lay(&self, layers: &mut Layers) -> Result<(), Usage> {
        layers.flag("--model", "models", (!self.model.is_empty()).then(|| self.model.clone()))?;
        layers.flag("--isa", "engine.isa", self.isa.clone())?;
        layers.flag("--threads", "engine.threads", self.threads)?;
        layers.flag("--kv-memory", "engine.kv_memory", self.kv_memory.clone())?;
        layers.flag("--quantize", "engine.quantize", self.quantize.clone())?;
        layers.flag("--speculation", "engine.speculation", self.speculation.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
