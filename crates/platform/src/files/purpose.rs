//! What an uploaded file is for.

use crate::Error;
use crate::reference::shown;
use std::str::FromStr;

/// OpenAI's names of what is uploaded, and `training`, which is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Assistants,
    Batch,
    Evals,
    FineTune,
    Training,
    UserData,
    Vision,
}

impl Purpose {
    pub const ALL: [Self; 7] =
        [Self::Assistants, Self::Batch, Self::Evals, Self::FineTune, Self::Training, Self::UserData, Self::Vision];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistants => "assistants",
            Self::Batch => "batch",
            Self::Evals => "evals",
            Self::FineTune => "fine-tune",
            Self::Training => "training",
            Self::UserData => "user_data",
            Self::Vision => "vision",
        }
    }
}

impl FromStr for Purpose {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(purpose) = Self::ALL.into_iter().find(|purpose| purpose.as_str() == text) {
            return Ok(purpose);
        }
        let known = Self::ALL.map(Self::as_str).join(", ");
        let message = format!("`purpose` is {}; it must be one of {known}", shown(text));
        Err(Error::BadInput { param: Some("purpose"), message })
    }
}
