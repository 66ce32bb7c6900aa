//! What a request must satisfy before it is queued: everything that would fail later fails here, by name.

use crate::core::flow::Flow;
use crate::executor::Shape;
use crate::request::{Error, Request, Sampling};
use crate::settings::Settings;

/// Checks a request against the model and the limits. `shape.context` is what a sequence can really have: the model's
/// context, or less where the KV memory does not hold that much.
pub fn check(request: &Request, shape: &Shape, model_context: usize, settings: &Settings) -> Result<(), Error> {
    check_lengths(request, shape, model_context)?;
    check_counts(request, settings)?;
    check_flow(&request.flow)?;
    check_sampling(&request.sampling, shape)
}

fn check_lengths(request: &Request, shape: &Shape, model_context: usize) -> Result<(), Error> {
    let prompt = request.prompt.len();
    if prompt == 0 {
        return invalid("prompt", "`prompt` has no tokens; give at least one".into());
    }
    if let Some(token) = request.prompt.iter().find(|token| **token as usize >= shape.vocabulary) {
        return invalid(
            "prompt",
            format!("`prompt` has token {token}; this model's tokens are 0 to {}", shape.vocabulary.saturating_sub(1)),
        );
    }
    let context = shape.context;
    let room = context.saturating_sub(prompt);
    if prompt > context || (room == 0 && request.max_tokens > 0) {
        let most = context - usize::from(request.max_tokens > 0).min(context);
        let limit = limit(shape, model_context);
        let message = format!("the prompt has {prompt} tokens, and {limit}; shorten it to {most} tokens or fewer");
        return Err(Error::TooLong { param: "prompt", message });
    }
    if request.max_tokens > room {
        let asked = request.max_tokens;
        let limit = limit(shape, model_context);
        let message = format!(
            "`max_tokens` {asked} with a prompt of {prompt} tokens is too many: {limit}; ask for {room} or less with this prompt"
        );
        return Err(Error::TooLong { param: "max_tokens", message });
    }
    Ok(())
}

/// The limit on a sequence's length and, where the memory makes it, the way to raise it.
fn limit(shape: &Shape, model_context: usize) -> String {
    let context = shape.context;
    if context == model_context {
        format!("this model's context is {context}")
    } else {
        format!("this server's KV memory holds {context} tokens (with more, up to the model's {model_context})")
    }
}

fn check_counts(request: &Request, settings: &Settings) -> Result<(), Error> {
    let (n, most) = (request.n, settings.choices_max);
    if n == 0 || n > most {
        return invalid("n", format!("`n` {n} is not between 1 and {most}"));
    }
    for (param, asked) in [("logprobs", request.logprobs), ("logprobs", request.prompt_logprobs)] {
        if let Some(asked) = asked.filter(|asked| *asked > settings.logprobs_max) {
            return invalid(param, format!("`{param}` {asked} is over the limit of {}", settings.logprobs_max));
        }
    }
    let (stops, most) = (request.stop.len(), settings.stop_strings_max);
    if stops > most {
        return invalid("stop", format!("`stop` has {stops} strings; give {most} or fewer"));
    }
    if request.stop.iter().any(String::is_empty) {
        return invalid("stop", "`stop` has an empty string; leave it out".into());
    }
    if let Some(stop) = request.stop.iter().find(|stop| stop.len() > settings.stop_bytes_max) {
        let (bytes, most) = (stop.len(), settings.stop_bytes_max);
        return invalid("stop", format!("`stop` has a string of {bytes} bytes; give {most} or fewer"));
    }
    Ok(())
}

fn check_flow(flow: &Flow) -> Result<(), Error> {
    if flow.weight == 0 {
        return invalid("flow", "the flow's weight is 0, and it would never be served; give 1 or more".into());
    }
    let percents =
        [("floor_blocks_percent", flow.floor_blocks_percent), ("queue_share_percent", flow.queue_share_percent)];
    match percents.into_iter().find(|(_, percent)| *percent > 100) {
        Some((name, percent)) => invalid("flow", format!("the flow's `{name}` {percent} is over 100")),
        None => Ok(()),
    }
}

fn check_sampling(sampling: &Sampling, shape: &Shape) -> Result<(), Error> {
    let ranges = [
        ("temperature", sampling.temperature, 0.0, f32::MAX, "a number from 0"),
        ("min_p", sampling.min_p, 0.0, 1.0, "between 0 and 1"),
        ("top_p", sampling.top_p, 0.0, 1.0, "between 0 and 1"),
        ("presence_penalty", sampling.presence_penalty, f32::MIN, f32::MAX, "a finite number"),
        ("frequency_penalty", sampling.frequency_penalty, f32::MIN, f32::MAX, "a finite number"),
        ("repetition_penalty", sampling.repetition_penalty, f32::MIN_POSITIVE, f32::MAX, "a number above 0"),
    ];
    for (param, value, low, high, wanted) in ranges {
        // NaN is in no range.
        if !(low..=high).contains(&value) {
            return invalid(param, format!("`{param}` {value} is not {wanted}"));
        }
    }
    for (token, bias) in &sampling.logit_bias {
        if *token as usize >= shape.vocabulary {
            let last = shape.vocabulary.saturating_sub(1);
            return invalid(
                "logit_bias",
                format!("`logit_bias` names token {token}; this model's tokens are 0 to {last}"),
            );
        }
        if !bias.is_finite() {
            return invalid("logit_bias", format!("`logit_bias` of token {token} is {bias}, not a finite number"));
        }
    }
    Ok(())
}

fn invalid(param: &'static str, message: String) -> Result<(), Error> {
    Err(Error::Invalid { param, message })
}
