//! Random prompts of a given length in tokens.

use super::random::Random;
use crate::client::Client;
use serde_json::{Value, json};

/// Common words; most are one token of most vocabularies.
const WORDS: [&str; 96] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
    "car",
    "city",
    "community",
    "name",
    "president",
    "team",
    "minute",
    "idea",
    "kid",
    "body",
    "information",
    "back",
    "parent",
    "face",
    "others",
    "level",
    "office",
    "door",
    "health",
    "person",
    "art",
    "war",
    "history",
    "party",
    "result",
    "change",
    "morning",
    "reason",
    "research",
    "girl",
    "guy",
    "moment",
];

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub count: usize,
    /// Of each prompt.
    pub tokens: usize,
    /// The prompts are messages of a chat.
    pub chat: bool,
}

pub struct Prompts {
    pub texts: Vec<String>,
    /// Every prompt has exactly the tokens asked for, by the server's own tokenizer.
    pub exact: bool,
}

/// Different prompts. Exact where the server has `/tokenize` and `/detokenize` (as vLLM,
/// llama-server and this product have), else of as many words. A chat's template adds its own tokens on top.
///
/// # Errors
/// The server stops answering in the middle.
pub async fn make(client: &Client, model: &str, wanted: Wanted, mut random: Random) -> anyhow::Result<Prompts> {
    let Wanted { count, tokens, chat } = wanted;
    let mut texts: Vec<String> = (0..count).map(|_| words(tokens, &mut random)).collect();
    let tokenizer = Tokenizer { client, model, special: !chat };
    if texts.is_empty() || tokenizer.encode(&texts[0]).await.is_none() {
        return Ok(Prompts { texts, exact: false });
    }
    let mut exact = true;
    for text in &mut texts {
        exact &= tokenizer.fit(text, tokens, &mut random).await;
    }
    Ok(Prompts { texts, exact })
}

fn words(count: usize, random: &mut Random) -> String {
    let picked: Vec<&str> = (0..count).map(|_| WORDS[random.below(WORDS.len())]).collect();
    picked.join(" ")
}

/// The server's tokenizer. The requests carry both vLLM's field names and llama-server's.
struct Tokenizer<'a> {
    client: &'a Client,
    model: &'a str,
    /// Count the tokens that a completion's prompt gets at its begin.
    special: bool,
}

impl Tokenizer<'_> {
    async fn encode(&self, text: &str) -> Option<Vec<Value>> {
        let special = self.special;
        let body = json!({
            "model": self.model, "prompt": text, "content": text, "add_special_tokens": special, "add_special": special,
        });
        let answer = self.client.post("/tokenize", &body).await.ok()?;
        answer["tokens"].as_array().cloned()
    }

    async fn decode(&self, tokens: &[Value]) -> Option<String> {
        let answer = self.client.post("/detokenize", &json!({"model": self.model, "tokens": tokens})).await.ok()?;
        answer["prompt"].as_str().or(answer["content"].as_str()).map(str::to_owned)
    }

    /// Makes `text` exactly `tokens` long by taking away or adding words; `false` where it does not succeed.
    async fn fit(&self, text: &mut String, tokens: usize, random: &mut Random) -> bool {
        const TRIES: usize = 16;
        for _ in 0..TRIES {
            let Some(encoded) = self.encode(text).await else { return false };
            match encoded.len() {
                length if length == tokens => return true,
                length if length < tokens => {
                    text.push(' ');
                    text.push_str(&words(tokens - length, random));
                }
                length => {
                    // Cut text, not ids: a beginning-of-text id would come back as text.
                    let over = length - tokens;
                    let tail = self.decode(&encoded[length - over..]).await.unwrap_or_default();
                    match text.strip_suffix(tail.as_str()) {
                        Some(rest) if !tail.is_empty() => *text = rest.to_owned(),
                        _ => {
                            let kept = text.rsplit_once(' ').map_or(0, |(rest, _)| rest.len());
                            text.truncate(kept);
                        }
                    }
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_repeat_with_the_seed_and_differ_from_each_other() {
        let make = |seed| {
            let mut random = Random::new(seed);
            [words(20, &mut random), words(20, &mut random)]
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        assert_ne!(make(1)[0], make(1)[1]);
        assert_eq!(make(1)[0].split(' ').count(), 20);
    }
}
