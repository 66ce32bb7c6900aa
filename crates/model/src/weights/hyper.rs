//! The hyper-parameters of a model and what makes them sane, the same for every source.

/// Hyper-parameters of a decoder-only transformer, the same for every source.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// Its name in the registry of architectures.
    pub architecture: String,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub intermediate: usize,
    pub vocabulary: usize,
    /// Longest context in tokens.
    pub context: usize,
    pub rms_eps: f32,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    /// Dimensions that are rotated, usually `head_dim`.
    pub rope_dim: usize,
    /// Rows of attn_q and attn_k are in the interleaved order of GGUF's `llama` files (rotate pairs 2i, 2i+1) and have to
    /// be reordered to rotate-half (i, i + d/2) on loading.
    pub rope_interleaved: bool,
}

/// How rotary frequencies are stretched past the trained context.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    None,
    Linear {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    Yarn {
        factor: f64,
        original_context: f64,
        beta_fast: f64,
        beta_slow: f64,
        attention_factor: Option<f64>,
    },
    /// Each frequency is divided by its factor (GGUF's `rope_freqs.weight`).
    Factors(Vec<f32>),
}

/// Upper bounds, an order of magnitude above the largest models: they keep every product of sizes inside `usize`.
const LAYERS_MAX: usize = 1 << 10;
const WIDTH_MAX: usize = 1 << 20;
const HEADS_MAX: usize = 1 << 12;
pub(super) const HEAD_DIM_MAX: usize = 1 << 12;
const VOCABULARY_MAX: usize = 1 << 24;
const CONTEXT_MAX: usize = 1 << 24;

impl Hyper {
    /// The reason why no model can have these sizes, if there is one.
    pub(super) fn insane(&self) -> Option<String> {
        let sizes = [
            ("layer count", self.layers, LAYERS_MAX),
            ("hidden size", self.hidden, WIDTH_MAX),
            ("attention head count", self.heads, HEADS_MAX),
            ("key-value head count", self.kv_heads, HEADS_MAX),
            ("head dimension", self.head_dim, HEAD_DIM_MAX),
            ("feed-forward size", self.intermediate, WIDTH_MAX),
            ("vocabulary", self.vocabulary, VOCABULARY_MAX),
            ("context length", self.context, CONTEXT_MAX),
            ("rotated dimensions", self.rope_dim, self.head_dim),
        ];
        if let Some((what, value, max)) = sizes.into_iter().find(|(_, value, max)| *value == 0 || value > max) {
            return Some(format!("{what} {value} is not in 1 to {max}"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Some(format!("{} heads cannot share {} key-value heads evenly", self.heads, self.kv_heads));
        }
        if !self.head_dim.is_multiple_of(2) || !self.rope_dim.is_multiple_of(2) {
            return Some(format!(
                "head dimension {} and rotated dimensions {} must be even",
                self.head_dim, self.rope_dim
            ));
        }
        if !(self.rms_eps >= 0.0 && self.rms_eps < 1.0) {
            return Some(format!("norm epsilon {} is not in 0 to 1", self.rms_eps));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return Some(format!("rope base {} is not above 1", self.rope_theta));
        }
        self.rope_scaling.insane(self.rope_dim)
    }
}

impl RopeScaling {
    fn insane(&self, rope_dim: usize) -> Option<String> {
        let bad = |value: &f64| !(value.is_finite() && *value > 0.0);
        let numbers: Vec<f64> = match self {
            RopeScaling::None => vec![],
            RopeScaling::Linear { factor } => vec![*factor],
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                if low_freq_factor == high_freq_factor {
                    return Some(format!("rope scaling with low_freq_factor = high_freq_factor = {low_freq_factor}"));
                }
                vec![*factor, *low_freq_factor, *high_freq_factor, *original_context]
            }
            RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor } => {
                vec![*factor, *original_context, *beta_fast, *beta_slow, attention_factor.unwrap_or(1.0)]
            }
            RopeScaling::Factors(factors) if factors.len() != rope_dim / 2 => {
                return Some(format!("{} rope factors for {rope_dim} rotated dimensions", factors.len()));
            }
            RopeScaling::Factors(factors) => factors.iter().map(|factor| f64::from(*factor)).collect(),
        };
        numbers.iter().find(|value| bad(value)).map(|value| format!("rope scaling value {value} is not above 0"))
    }
}

/// `context` cut to the window: full attention gives a sliding-window model's results only within it.
pub(super) fn within_window(context: usize, window: usize) -> usize {
    if window < context {
        tracing::warn!(
            window,
            context,
            "this model attends over a sliding window, which is not built; its context is cut to the window"
        );
    }
    context.min(window)
}
