//! Perplexity of a text under a model.
//!
//! The text's tokens are cut into windows that do not overlap. In each window every token but the first is scored by its
//! log-probability after the ones before it in the window; the first has nothing before it and is not scored. With
//! windows of w tokens, a text of t tokens gives about t·(w−1)/w scores. Start at [`Platform::perplexity`].

use crate::{Admission, CompletionRequest, Error, Event, Generate, Platform, Prompt};
use futures_util::stream::{StreamExt, TryStreamExt, iter};

/// Windows that are in the engine at the same time.
const CONCURRENCY: usize = 4;

/// A text to score.
#[derive(Debug, Clone)]
pub struct PerplexityRequest {
    pub model: String,
    pub text: String,
    /// Tokens of one window, from 2 to the model's context less one.
    pub window: usize,
    /// Score the first tokens of the text only.
    pub tokens_max: Option<usize>,
}

/// How well a model predicts a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// Tokens that were scored.
    pub tokens: usize,
    pub windows: usize,
    /// Mean negative log-likelihood of a token, in nats.
    pub nll: f64,
    /// exp(nll).
    pub perplexity: f64,
}

impl Platform {
    /// Scores a text. `progress` gets the windows done and all of them.
    pub async fn perplexity(
        &self,
        admission: &Admission,
        request: PerplexityRequest,
        progress: &(dyn Fn(usize, usize) + Send + Sync),
    ) -> Result<Perplexity, Error> {
        let handle = self.handle(&request.model)?;
        check_window(request.window, handle.shape().context)?;
        let text = request.text;
        let mut tokens =
            crate::pull::blocking(move || handle.encode(&text, false).map_err(crate::chat::engine_error)).await?;
        tokens.truncate(request.tokens_max.unwrap_or(usize::MAX));
        // A last window of one token has nothing to score.
        let windows: Vec<Vec<u32>> =
            tokens.chunks(request.window).filter(|window| window.len() > 1).map(<[u32]>::to_vec).collect();
        let count = windows.len();
        if count == 0 {
            return Err(Error::bad_input(format!("the text has {} tokens; at least 2 are needed", tokens.len())));
        }
        let model = &request.model;
        let mut scores = iter(windows).map(|window| self.score(admission, model, window)).buffered(CONCURRENCY);
        let (mut sum, mut scored, mut done) = (0.0, 0, 0);
        while let Some((window_sum, window_scored)) = scores.try_next().await? {
            sum += window_sum;
            scored += window_scored;
            done += 1;
            progress(done, count);
        }
        let nll = -sum / scored as f64;
        Ok(Perplexity { tokens: scored, windows: count, nll, perplexity: nll.exp() })
    }

    /// The sum of one window's log-probabilities and their count.
    async fn score(&self, admission: &Admission, model: &str, window: Vec<u32>) -> Result<(f64, usize), Error> {
        let expected = window.len() - 1;
        let request = CompletionRequest {
            model: model.to_owned(),
            prompt: Prompt::Tokens(window),
            prompt_logprobs: Some(0),
            generate: one_token(),
        };
        let mut reply = self.complete(self.admit(admission.by().clone()).await?, request).await?;
        let mut scores: Option<Vec<f32>> = None;
        while let Some(event) = reply.next().await {
            match event {
                Event::Prompt { tokens } => {
                    scores = Some(tokens.into_iter().filter_map(|token| Some(token.logprobs?.chosen.logprob)).collect())
                }
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
        match scores {
            Some(scores) if scores.len() == expected => {
                Ok((scores.iter().map(|score| f64::from(*score)).sum(), expected))
            }
            other => Err(Error::internal(format!(
                "the engine scored {} tokens of {expected}",
                other.map_or(0, |scores| scores.len())
            ))),
        }
    }
}

fn check_window(window: usize, context: usize) -> Result<(), Error> {
    let window_max = context.saturating_sub(1);
    if (2..=window_max).contains(&window) {
        return Ok(());
    }
    Err(Error::bad_input(format!("a window of {window} tokens is not possible; this model takes 2 to {window_max}")))
}

/// One greedy token: the engine generates at least one.
fn one_token() -> Generate {
    Generate {
        max_tokens: Some(1),
        n: 1,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        repetition_penalty: 1.0,
        logit_bias: Vec::new(),
        seed: Some(0),
        stop: Vec::new(),
        ignore_eos: true,
        logprobs: None,
        cache_salt: None,
        priority: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fit_the_context() {
        assert!(check_window(2, 8).is_ok() && check_window(7, 8).is_ok());
        for window in [0, 1, 8, usize::MAX] {
            assert!(check_window(window, 8).expect_err("refused").to_string().contains("2 to 7"), "{window}");
        }
    }
}
