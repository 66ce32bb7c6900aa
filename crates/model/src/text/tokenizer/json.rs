//! Tokenizers from Hugging Face's `tokenizer.json` and the configurations beside it. Start at [`build`].
//!
//! Source: the serialisation of huggingface/tokenizers. Parts that a supported family does not use are refused by name.

use super::split::{Cut, Pattern, Splitter};
use super::vocabulary::{Entry, Kind, Strip, Vocabulary, makes_turns};
use super::{Merges, Prefix, Space, Symbols, Tokenizer, byte_level, fallback_byte};
use crate::Error;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Bpe,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    vocab: Value,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

/// `"a b"` in old files, `["a", "b"]` in new ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

/// What normaliser, pre-tokenizer and decoder come to.
#[derive(Default)]
struct Rules {
    nfc: bool,
    space: Space,
    cuts: Vec<Cut>,
    byte_level: bool,
}

pub(super) fn build(
    tokenizer: &str,
    tokenizer_config: Option<&str>,
    generation_config: Option<&str>,
    config: &str,
) -> Result<Tokenizer, Error> {
    let file: File = serde_json::from_str(tokenizer).map_err(|error| invalid("tokenizer.json", &error))?;
    let tokenizer_config = parse("tokenizer_config.json", tokenizer_config)?;
    let generation_config = parse("generation_config.json", generation_config)?;
    let config = parse("config.json", Some(config))?;
    check_model(&file.model)?;

    let mut rules = Rules::default();
    normalizer(&file.normalizer, &mut rules)?;
    pre_tokenizer(&file.pre_tokenizer, &mut rules)?;
    if !rules.byte_level && !rules.space.metaspace {
        return Err(unsupported(
            "tokenizer.json",
            "neither ByteLevel nor Metaspace",
            "byte-level BPE, SentencePiece BPE",
        ));
    }
    let ids = vocabulary_ids(&file.model.vocab)?;
    let entries = entries(&ids, &file.added_tokens, rules.byte_level)?;
    let merges = merges(&file.model, &ids, &entries)?;
    let vocabulary = Vocabulary::new(entries, file.model.byte_fallback)?;

    let token = |name: &str| token_name(&tokenizer_config, name).and_then(|name| vocabulary.named(&name));
    let (bos, eos) = (token("bos_token"), token("eos_token"));
    let (before, after) = around(&file.post_processor, &tokenizer_config, &vocabulary, bos, eos);
    let mut stop: Vec<u32> = eos.into_iter().collect();
    stop.extend(token_ids(&generation_config, "eos_token_id"));
    stop.extend(token_ids(&config, "eos_token_id"));
    stop.sort_unstable();
    stop.dedup();
    Ok(Tokenizer {
        merges,
        symbols: if rules.byte_level { Symbols::Bytes } else { Symbols::CharactersThenBytes },
        nfc: rules.nfc,
        strip_first_space: strips_first_space(&file.decoder),
        space: rules.space,
        splitter: Splitter::new(rules.cuts),
        whole_pieces: file.model.ignore_merges,
        unknown: file.model.unk_token.filter(|_| !rules.byte_level).and_then(|name| vocabulary.named(&name)),
        bos: bos.or_else(|| token_ids(&config, "bos_token_id").first().copied()),
        eos,
        vocabulary,
        before,
        after,
        stop,
    })
}

fn invalid(file: &str, error: &serde_json::Error) -> Error {
    Error::Tokenizer(format!("{file} is not as expected: {error}"))
}

fn unsupported(what: &'static str, found: &str, supported: &str) -> Error {
    Error::Unsupported { what, found: found.to_owned(), supported: supported.to_owned() }
}

fn parse(file: &str, text: Option<&str>) -> Result<Value, Error> {
    text.map_or(Ok(Value::Null), |text| serde_json::from_str(text).map_err(|error| invalid(file, &error)))
}

fn check_model(model: &Bpe) -> Result<(), Error> {
    if let Some(kind) = model.kind.as_deref().filter(|kind| *kind != "BPE") {
        return Err(unsupported("tokenizer model (tokenizer.json)", kind, "BPE"));
    }
    for part in [&model.continuing_subword_prefix, &model.end_of_word_suffix] {
        if let Some(text) = part.as_deref().filter(|text| !text.is_empty()) {
            return Err(unsupported("subword prefix or suffix (tokenizer.json)", text, "none"));
        }
    }
    Ok(())
}

/// The parts of a `Sequence` under `key`, or the one part itself; none for `null`.
fn parts<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    match value {
        Value::Null => Vec::new(),
        _ if value["type"] == "Sequence" => value[key].as_array().into_iter().flatten().collect(),
        _ => vec![value],
    }
}

fn normalizer(value: &Value, rules: &mut Rules) -> Result<(), Error> {
    for part in parts(value, "normalizers") {
        match part["type"].as_str().unwrap_or_default() {
            "NFC" => rules.nfc = true,
            "Prepend" if part["prepend"] == "▁" => rules.space.prefix = Prefix::Every,
            "Replace" if part["pattern"]["String"] == " " && part["content"] == "▁" => rules.space.metaspace = true,
            _ => {
                let supported = "NFC, Prepend `▁`, Replace ` ` by `▁`";
                return Err(unsupported("normalizer (tokenizer.json)", &part.to_string(), supported));
            }
        }
    }
    Ok(())
}

fn pre_tokenizer(value: &Value, rules: &mut Rules) -> Result<(), Error> {
    for part in parts(value, "pretokenizers") {
        match part["type"].as_str().unwrap_or_default() {
            "ByteLevel" => byte_level_cut(part, rules),
            "Digits" if part["individual_digits"] == true => rules.cuts.push(Cut::SingleDigits),
            "Digits" => rules.cuts.push(Cut::DigitRuns),
            "Split" if part["behavior"] == "Isolated" && part["invert"] != true => {
                let pattern = part["pattern"]["Regex"].as_str().unwrap_or_default();
                rules.cuts.push(Cut::pattern(Pattern::published(pattern)?));
            }
            "Metaspace" if part["replacement"] == "▁" => metaspace(part, rules),
            _ => {
                let supported = "ByteLevel, Digits, Split (isolated), Metaspace `▁`";
                return Err(unsupported("pre-tokenizer (tokenizer.json)", &part.to_string(), supported));
            }
        }
    }
    Ok(())
}

fn byte_level_cut(part: &Value, rules: &mut Rules) {
    rules.byte_level = true;
    if part["add_prefix_space"] == true {
        rules.space.prefix = Prefix::Every;
        rules.space.prefix_once = true;
    }
    if part["use_regex"] != false {
        rules.cuts.push(Cut::pattern(Pattern::Gpt2));
    }
}

fn metaspace(part: &Value, rules: &mut Rules) {
    let legacy = part["add_prefix_space"] != false;
    rules.space = Space {
        metaspace: true,
        prefix: match part["prepend_scheme"].as_str() {
            Some("never") => Prefix::Never,
            Some("first") => Prefix::First,
            Some(_) => Prefix::Every,
            None if legacy => Prefix::Every,
            None => Prefix::Never,
        },
        prefix_once: true,
    };
    if part["split"] != false {
        rules.cuts.push(Cut::AtSpace);
    }
}

/// Ids by name. A JSON object of 100,000 entries is read once, into a map.
fn vocabulary_ids(vocab: &Value) -> Result<HashMap<&str, u32>, Error> {
    let object = vocab.as_object().ok_or_else(|| {
        Error::Tokenizer("`model.vocab` of tokenizer.json is not an object of names and ids".to_owned())
    })?;
    let id_of = |name: &str, id: &Value| {
        let id_or_none = id.as_u64().and_then(|id| u32::try_from(id).ok());
        id_or_none.ok_or_else(|| Error::Tokenizer(format!("token {name:?} has the id {id}, which is none")))
    };
    object.iter().map(|(name, id)| Ok((name.as_str(), id_of(name, id)?))).collect()
}

fn entries(ids: &HashMap<&str, u32>, added: &[Added], is_byte_level: bool) -> Result<Vec<Entry>, Error> {
    let count = ids.len() + added.len();
    let size = ids.values().copied().chain(added.iter().map(|token| token.id)).max().map_or(0, |id| id as usize + 1);
    if size > 2 * count + 1024 {
        return Err(Error::Tokenizer(format!("the highest id {size} is far above the number of tokens, {count}")));
    }
    let gap = Entry { name: String::new(), bytes: Vec::new(), kind: Kind::Control, strip: Strip::default() };
    let mut entries = vec![gap; size];
    for (name, id) in ids {
        let byte = fallback_byte(name).filter(|_| !is_byte_level);
        let bytes = match byte {
            Some(byte) => vec![byte],
            None if is_byte_level => byte_level(name).unwrap_or_else(|| name.as_bytes().to_vec()),
            None => name.replace('▁', " ").into_bytes(),
        };
        let kind = match byte {
            Some(_) => Kind::Byte,
            None if makes_turns(name) => Kind::Control,
            None => Kind::Normal,
        };
        entries[*id as usize] = Entry { name: (*name).to_owned(), bytes, kind, strip: Strip::default() };
    }
    for token in added {
        if token.single_word {
            return Err(unsupported("`single_word` of an added token", &token.content, "false"));
        }
        entries[token.id as usize] = Entry {
            name: token.content.clone(),
            bytes: token.content.as_bytes().to_vec(),
            kind: if token.special || makes_turns(&token.content) { Kind::Control } else { Kind::Whole },
            strip: Strip { left: token.lstrip, right: token.rstrip },
        };
    }
    Ok(entries)
}

fn merges(model: &Bpe, ids: &HashMap<&str, u32>, entries: &[Entry]) -> Result<Merges, Error> {
    let pairs = model.merges.iter().map(|merge| match merge {
        Merge::Pair(left, right) => Ok((left.as_str(), right.as_str())),
        Merge::Joined(both) => {
            both.split_once(' ').ok_or_else(|| Error::Tokenizer(format!("the merge {both:?} is not two tokens")))
        }
    });
    let control = |token: u32| entries.get(token as usize).is_none_or(|entry| entry.kind == Kind::Control);
    super::listed(pairs, ids, control)
}

/// Ids that the post-processor puts before and after a text; `add_bos_token` and `add_eos_token` overrule it.
fn around(
    post_processor: &Value,
    tokenizer_config: &Value,
    vocabulary: &Vocabulary,
    bos: Option<u32>,
    eos: Option<u32>,
) -> (Vec<u32>, Vec<u32>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for part in parts(post_processor, "processors") {
        let mut text_seen = false;
        for piece in part["single"].as_array().into_iter().flatten() {
            text_seen |= piece.get("Sequence").is_some();
            let name = piece["SpecialToken"]["id"].as_str();
            let token = name.and_then(|name| vocabulary.named(name));
            if text_seen { after.extend(token) } else { before.extend(token) }
        }
    }
    if let Some(add) = tokenizer_config["add_bos_token"].as_bool() {
        before = bos.filter(|_| add).into_iter().collect();
    }
    if let Some(add) = tokenizer_config["add_eos_token"].as_bool() {
        after = eos.filter(|_| add).into_iter().collect();
    }
    (before, after)
}

/// The text of `bos_token` and its like: a string, or an object with `content`.
fn token_name(tokenizer_config: &Value, key: &str) -> Option<String> {
    let value = &tokenizer_config[key];
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// One id or a list of ids.
fn token_ids(config: &Value, key: &str) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match &config[key] {
        Value::Array(ids) => ids.iter().filter_map(id).collect(),
        value => id(value).into_iter().collect(),
    }
}

/// Whether decoding takes away the space before the first word.
fn strips_first_space(decoder: &Value) -> bool {
    parts(decoder, "decoders").iter().any(|part| match part["type"].as_str() {
        Some("Strip") => part["content"] == " " && part["start"].as_u64().is_some_and(|count| count > 0),
        Some("Metaspace") => match part["prepend_scheme"].as_str() {
            Some(scheme) => scheme != "never",
            None => part["add_prefix_space"] != false,
        },
        _ => false,
    })
}
