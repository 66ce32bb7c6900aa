//! The parameters of generation as tables: name, range, default and meaning. The checks and the OpenAPI schemas both
//! come from here, so that they cannot disagree.

use crate::Limits;
use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};

/// Length of a model's name in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// Prompts in one completion request.
pub const PROMPTS_MAX: usize = 128;
pub const LOGIT_BIAS_MAX: usize = 1024;
/// Length of `cache_salt` in bytes.
pub const SALT_BYTES_MAX: usize = 512;

/// A real number in a closed range.
pub struct Number {
    pub name: &'static str,
    pub min: f64,
    pub max: f64,
    pub default: f32,
    pub about: &'static str,
}

/// An integer in a closed range.
pub struct Integer {
    pub name: &'static str,
    pub min: i64,
    pub max: i64,
    pub default: Option<i64>,
    pub about: &'static str,
}

impl Integer {
    /// The same with the limit of the settings.
    pub fn up_to(&self, limit: usize) -> Self {
        let max = i64::try_from(limit).unwrap_or(i64::MAX);
        Self { name: self.name, min: self.min, max, default: self.default, about: self.about }
    }
}

pub struct Flag {
    pub name: &'static str,
    pub default: bool,
    pub about: &'static str,
}

const fn number(name: &'static str, min: f64, max: f64, default: f32, about: &'static str) -> Number {
    Number { name, min, max, default, about }
}

const fn integer(name: &'static str, min: i64, max: i64, default: Option<i64>, about: &'static str) -> Integer {
    Integer { name, min, max, default, about }
}

const fn flag(name: &'static str, about: &'static str) -> Flag {
    Flag { name, default: false, about }
}

/// Stands where the settings have the limit: [`Integer::up_to`] puts it in.
const SETTINGS_MAX: i64 = i64::MAX;

/// More tokens than any context holds; the model's own limit is checked where it is known.
const TOKENS_MAX: i64 = u32::MAX as i64;

pub const TEMPERATURE: Number = number("temperature", 0.0, 2.0, 1.0, "0 takes the most probable token.");
pub const TOP_P: Number = number("top_p", 0.0, 1.0, 1.0, "Keeps the most probable tokens up to this probability mass.");
pub const MIN_P: Number = number("min_p", 0.0, 1.0, 0.0, "Keeps tokens at least this probable, relative to the best.");
pub const PRESENCE: Number = number("presence_penalty", -2.0, 2.0, 0.0, "Taken off tokens that have occurred.");
pub const FREQUENCY: Number = number("frequency_penalty", -2.0, 2.0, 0.0, "Taken off tokens for each occurrence.");
pub const REPETITION: Number =
    number("repetition_penalty", 0.01, 10.0, 1.0, "Divides the logits of tokens that have occurred; 1 is off.");
pub const NUMBERS: &[&Number] = &[&TEMPERATURE, &TOP_P, &MIN_P, &PRESENCE, &FREQUENCY, &REPETITION];

pub const N: Integer = integer("n", 1, SETTINGS_MAX, Some(1), "Choices sampled from the same prompt.");
pub const TOP_K: Integer = integer("top_k", -1, TOKENS_MAX, Some(0), "Keeps this many tokens; 0 and -1 keep all.");
pub const SEED: Integer =
    integer("seed", i64::MIN, i64::MAX, None, "The same seed gives the same answer; random without.");
pub const PRIORITY: Integer = integer("priority", i32::MIN as i64, i32::MAX as i64, Some(0), "Higher is served first.");
pub const INTEGERS: &[&Integer] = &[&N, &TOP_K, &SEED, &PRIORITY];

pub const MAX_TOKENS: Integer =
    integer("max_tokens", 1, TOKENS_MAX, None, "Tokens of each choice; up to the end of the context without.");
pub const MAX_COMPLETION_TOKENS: Integer =
    integer("max_completion_tokens", 1, TOKENS_MAX, None, "The newer name of `max_tokens`.");
pub const TOP_LOGPROBS: Integer =
    integer("top_logprobs", 0, SETTINGS_MAX, None, "Alternatives for each token; needs `logprobs`.");
pub const TEXT_MAX_TOKENS: Integer =
    integer("max_tokens", 0, TOKENS_MAX, Some(16), "Tokens of each choice; 0 is for `echo`.");
pub const TEXT_LOGPROBS: Integer =
    integer("logprobs", 0, SETTINGS_MAX, None, "Log-probabilities with this many alternatives.");
pub const BEST_OF: Integer = integer("best_of", 1, SETTINGS_MAX, None, "Accepted where it equals `n`.");

pub const STREAM: Flag = flag("stream", "Answer in server-sent events.");
pub const IGNORE_EOS: Flag = flag("ignore_eos", "Go on past the model's end token.");
pub const LOGPROBS: Flag = flag("logprobs", "Report the log-probability of each token.");
pub const ECHO: Flag = flag("echo", "Put the prompt before the answer.");
pub const INCLUDE_USAGE: Flag = flag("include_usage", "End the stream with a chunk that has the usage.");
pub const STORE: Flag =
    flag("store", "Refuse unless the tenant keeps requests and answers; where it does, all are kept.");
pub const ADD_SPECIAL: Flag =
    Flag { name: "add_special_tokens", default: true, about: "Add the model's begin token where it has one." };

/// The schema of a request: an object, built from the tables.
pub struct RequestSchema {
    object: ObjectBuilder,
}

impl RequestSchema {
    pub fn new(about: &str) -> Self {
        Self { object: ObjectBuilder::new().description(Some(about)) }
    }

    /// Any schema under a name.
    pub fn property(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        Self { object: self.object.property(name, schema) }
    }

    pub fn required(self, name: &str) -> Self {
        Self { object: self.object.required(name) }
    }

    pub fn text(self, name: &str, about: &str) -> Self {
        self.property(name, string(about))
    }

    pub fn number(self, spec: &Number) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Number))
            .description(Some(spec.about))
            .minimum(Some(spec.min))
            .maximum(Some(spec.max))
            .default(Some(json!(spec.default)));
        self.property(spec.name, schema)
    }

    pub fn integer(self, spec: &Integer) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .description(Some(spec.about))
            .minimum(Some(spec.min as f64))
            .maximum(Some(spec.max as f64))
            .default(spec.default.map(|default| json!(default)));
        self.property(spec.name, schema)
    }

    pub fn flag(self, spec: &Flag) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Boolean))
            .description(Some(spec.about))
            .default(Some(json!(spec.default)));
        self.property(spec.name, schema)
    }

    /// What chat and completion share.
    pub fn generation(mut self) -> Self {
        for spec in NUMBERS {
            self = self.number(spec);
        }
        for spec in INTEGERS {
            self = self.integer(spec);
        }
        let bias = ObjectBuilder::new()
            .description(Some("Added to the logits, by token id."))
            .additional_properties(Some(ObjectBuilder::new().schema_type(SchemaType::Type(Type::Number))));
        let options = RequestSchema::new("Options of `stream`.").flag(&INCLUDE_USAGE).object;
        self.property("stop", stop_schema(&Limits::default()))
            .property("logit_bias", bias)
            .flag(&STREAM)
            .property("stream_options", options)
            .flag(&IGNORE_EOS)
            .text("cache_salt", "Only requests with the same salt share cached prompts.")
            .text("user", "Accepted; not used.")
    }

    pub fn build(self) -> RefOr<Schema> {
        self.object.into()
    }
}

/// Puts the limits of the settings into the schema of a request; the schemas themselves are made without settings.
pub fn limit(schema: &mut RefOr<Schema>, limits: &Limits) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    let integers = [
        (&N, limits.choices_max),
        (&BEST_OF, limits.choices_max),
        (&TOP_LOGPROBS, limits.logprobs_max),
        (&TEXT_LOGPROBS, limits.logprobs_max),
    ];
    for (spec, limit) in integers {
        if let Some(RefOr::T(Schema::Object(property))) = object.properties.get_mut(spec.name)
            && property.maximum.is_some()
        {
            property.maximum = Some((limit as f64).into());
        }
    }
    if object.properties.contains_key("stop") {
        object.properties.insert("stop".to_owned(), stop_schema(limits).into());
    }
}

pub fn string(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).description(Some(about))
}

/// A string or an array of them.
fn stop_schema(limits: &Limits) -> Schema {
    let one = |about| string(about).max_length(Some(limits.stop_bytes_max));
    let any = utoipa::openapi::schema::OneOfBuilder::new()
        .description(Some("Strings that end a choice."))
        .item(one("One."))
        .item(ArrayBuilder::new().items(one("One of many.")).max_items(Some(limits.stop_strings_max)));
    Schema::OneOf(any.build())
}
