//! Texts to tokens: words, numbers and signs, with a vocabulary of the training texts.
//!
//! Case makes no difference, without a rule for it in the graph: the vocabulary holds a word in small letters, in capitals,
//! with a capital first, and as it stood in training. So a served model depends on no locale of its machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::settings::{Roles, TextSettings};
use super::target::{names, present};
use crate::data::{Kind, Table, Values, quoted};
use crate::onnx::{Dim, Element, Graph, Setting, Value};
use crate::{Error, Result, Tokens};

/// A token. ONNX Runtime's tokenizer and ours take the same expression.
const TOKEN: &str = r"[\p{L}\p{M}]+|\p{N}+|[\p{P}\p{S}]";
/// The number that fills a text up.
const FILLING: u32 = 0;
/// The number of a token that is not in the vocabulary.
const UNKNOWN: u32 = 1;
/// The number of the first token that is.
const FIRST: u32 = 2;

/// How texts are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Text {
    column: String,
    length: usize,
    vocabulary: u32,
    /// Forms of tokens with their numbers, sorted.
    forms: BTreeMap<String, u32>,
}

impl Text {
    pub(super) fn fit(
        table: &Table,
        target: &str,
        roles: &Roles,
        settings: &TextSettings,
        rows: &[usize],
    ) -> Result<Text> {
        check(settings)?;
        let column = chosen(table, target, roles)?;
        let expression = expression()?;
        let mut texts_of: HashMap<String, usize> = HashMap::new();
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for &row in rows {
            let text = table_text(table, &column, row)?;
            let mut of_text = HashSet::new();
            for token in expression.find_iter(&text) {
                let word = token.as_str().to_lowercase();
                if of_text.insert(word.clone()) {
                    *texts_of.entry(word.clone()).or_default() += 1;
                }
                seen.entry(word).or_default().insert(token.as_str().to_owned());
            }
        }
        let mut words: Vec<(usize, String)> = texts_of
            .into_iter()
            .map(|(word, texts)| (texts, word))
            .filter(|(texts, _)| *texts >= settings.texts_min)
            .collect();
        words.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        words.truncate(settings.vocabulary_max - FIRST as usize);
        if words.is_empty() {
            let message = format!("no token is in {} training texts; use a smaller `texts_min`", settings.texts_min);
            return Err(Error::BadSpec { field: "preprocessing.text.texts_min".to_owned(), message });
        }
        let vocabulary = FIRST + words.len() as u32;
        let mut forms = BTreeMap::new();
        for ((_, word), number) in words.iter().zip(FIRST..) {
            forms.extend(forms_of(word, &seen).into_iter().map(|form| (form, number)));
        }
        Ok(Text { column, length: settings.length, vocabulary, forms })
    }

    pub(super) fn apply(&self, table: &Table, rows: &[usize]) -> Result<Tokens> {
        let expression = expression()?;
        let mut ids = Vec::with_capacity(rows.len() * self.length);
        for &row in rows {
            let text = table_text(table, &self.column, row)?;
            let end = ids.len() + self.length;
            let number = |token: regex::Match<'_>| self.forms.get(token.as_str()).copied().unwrap_or(UNKNOWN);
            ids.extend(expression.find_iter(&text).take(self.length).map(number));
            ids.resize(end, FILLING);
        }
        Ok(Tokens { rows: rows.len(), length: self.length, ids, vocabulary: self.vocabulary })
    }

    /// Adds the input `text` and gives the tokens' numbers, integer `[batch, length]`.
    pub(super) fn export(&self, graph: &mut Graph) -> Value {
        let text = graph.input("text", Element::Text, &[Dim::Batch, Dim::Fixed(1)]);
        let cut = [
            ("mark", Setting::Int(0)),
            ("mincharnum", Setting::Int(1)),
            ("pad_value", Setting::Text(String::new())),
            ("tokenexp", Setting::Text(TOKEN.to_owned())),
        ];
        let tokens = graph.nodes("com.microsoft", "Tokenizer", &[&text], &cut, 1).remove(0);
        let (mut forms, mut numbers): (Vec<String>, Vec<i64>) =
            self.forms.iter().map(|(form, &number)| (form.clone(), i64::from(number))).unzip();
        forms.push(String::new());
        numbers.push(i64::from(FILLING));
        let settings = [
            ("keys_strings", Setting::Texts(forms)),
            ("values_int64s", Setting::Ints(numbers)),
            ("default_int64", Setting::Int(i64::from(UNKNOWN))),
        ];
        let ids = graph.ml("LabelEncoder", &[&tokens], &settings);
        let ids = graph.node("Flatten", &[&ids], &[("axis", Setting::Int(1))]);
        let more = graph.ints(&[4], &[0, 0, 0, self.length as i64]);
        let filling = graph.ints(&[], &[i64::from(FILLING)]);
        let padded = graph.node("Pad", &[&ids, &more, &filling], &[]);
        let (begin, end, axis) =
            (graph.ints(&[1], &[0]), graph.ints(&[1], &[self.length as i64]), graph.ints(&[1], &[1]));
        graph.node("Slice", &[&padded, &begin, &end, &axis], &[])
    }

    pub(super) fn column(&self) -> &str {
        &self.column
    }

    pub(super) fn vocabulary(&self) -> u32 {
        self.vocabulary
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

fn check(settings: &TextSettings) -> Result<()> {
    const LENGTH_MAX: usize = 65_536;
    const VOCABULARY_MAX: usize = 1_000_000;
    let bad =
        |field: &str, message: String| Err(Error::BadSpec { field: format!("preprocessing.text.{field}"), message });
    if !(1..=LENGTH_MAX).contains(&settings.length) {
        return bad("length", format!("{} is not between 1 and {LENGTH_MAX}", settings.length));
    }
    if !(FIRST as usize + 1..=VOCABULARY_MAX).contains(&settings.vocabulary_max) {
        return bad("vocabulary_max", format!("{} is not between 3 and {VOCABULARY_MAX}", settings.vocabulary_max));
    }
    Ok(())
}

/// The one column that `roles` name, or the only one that holds texts.
fn chosen(table: &Table, target: &str, roles: &Roles) -> Result<String> {
    let bad = |message: String| Err(Error::BadSpec { field: "features".to_owned(), message });
    let of_kind = |kind: Kind| {
        let is_text = |column: &&crate::data::Column| column.name != target && column.values.kind() == kind;
        table.columns().iter().filter(is_text).map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    let named = |name: &str| (name != target && table.column(name).is_some()).then(|| name.to_owned());
    match roles.features.as_deref() {
        Some([name]) => match named(name) {
            Some(name) => Ok(name),
            None => bad(format!("there is no column {} to read; the columns are {}", quoted(name), names(table))),
        },
        Some(several) => bad(format!("a text classification reads one column, and {} are named", several.len())),
        None => match (named("text"), of_kind(Kind::Text).as_slice(), of_kind(Kind::Category).as_slice()) {
            (Some(name), _, _) => Ok(name),
            (None, [name], _) | (None, [], [name]) => Ok(name.clone()),
            _ => bad(format!("name the column with the texts, one of {}", names(table))),
        },
    }
}

fn table_text(table: &Table, column: &str, row: usize) -> Result<String> {
    let values: &Values = &present(table, column)?.values;
    Ok(values.text(row))
}

fn expression() -> Result<Regex> {
    Regex::new(TOKEN).map_err(|error| Error::Internal(format!("the expression of a token: {error}")))
}

/// How a word can be written, as far as no other word is written so.
fn forms_of(word: &str, seen: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut letters = word.chars();
    let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let mut forms = seen.get(word).cloned().unwrap_or_default();
    forms.extend([word.to_owned(), word.to_uppercase(), title].into_iter().filter(|form| form.to_lowercase() == word));
    forms
}
