//! What a model is trained for: the tasks' names are the Hugging Face hub's.

/// What comes in and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A row of columns → one of some classes.
    TabularClassification,
    /// A row of columns → a number.
    TabularRegression,
    /// The last numbers of a series → the next ones.
    TimeSeriesForecasting,
    /// A text → one of some classes.
    TextClassification,
    /// A picture → one of some classes.
    ImageClassification,
}

impl Task {
    /// All of them, in the order in which they are listed to users.
    pub const ALL: [Task; 5] = [
        Task::TabularClassification,
        Task::TabularRegression,
        Task::TimeSeriesForecasting,
        Task::TextClassification,
        Task::ImageClassification,
    ];

    /// The hub's name.
    pub fn name(self) -> &'static str {
        match self {
            Task::TabularClassification => "tabular-classification",
            Task::TabularRegression => "tabular-regression",
            Task::TimeSeriesForecasting => "time-series-forecasting",
            Task::TextClassification => "text-classification",
            Task::ImageClassification => "image-classification",
        }
    }

    /// The task of a name; `None` for a name that is none of [`Task::ALL`]'s.
    pub fn of_name(name: &str) -> Option<Task> {
        Task::ALL.into_iter().find(|task| task.name() == name)
    }

    /// Whether the target is one of some classes.
    pub fn is_classification(self) -> bool {
        !matches!(self, Task::TabularRegression | Task::TimeSeriesForecasting)
    }
}
