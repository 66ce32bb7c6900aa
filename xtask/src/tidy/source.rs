//! One Rust file as text and as tokens. Tokens know no comments and keep strings whole, so that a word in either is
//! never taken for code.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A parsed file.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    all: Vec<Token>,
    product: Vec<Token>,
    functions: Vec<Function>,
}

/// A token as the checks see it. Punctuation comes one character at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

impl Source {
    /// # Errors
    /// The text is no Rust.
    pub fn parse(path: &str, text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|e| anyhow!("{path} cannot be read as Rust: {e}"))?;
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            all: Vec::new(),
            product: Vec::new(),
            functions: Vec::new(),
        };
        flatten(tokens.clone(), false, &mut source.all);
        flatten(tokens.clone(), true, &mut source.product);
        functions(tokens, &mut source.functions);
        Ok(source)
    }

    /// `crates/engine/src/x.rs` → `engine`; `xtask/…` → `xtask`.
    pub fn krate(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or_default(),
            other => other.unwrap_or_default(),
        }
    }

    /// A file of integration tests or benches.
    pub fn is_test(&self) -> bool {
        ["/tests/", "/benches/", "/tests.rs"].iter().any(|part| self.path.contains(part))
    }

    /// A file that begins a crate: a library, a binary, or an integration test.
    pub fn is_crate_root(&self) -> bool {
        let inner = self.path.split_once(&format!("{}/", self.krate())).map_or("", |(_, inner)| inner);
        matches!(inner, "src/lib.rs" | "src/main.rs" | "build.rs") || inner.starts_with("src/bin/")
    }

    /// All tokens but strings, flattened.
    pub fn all(&self) -> &[Token] {
        &self.all
    }

    /// All tokens but strings, without `#[cfg(test)] mod …`.
    pub fn product(&self) -> &[Token] {
        &self.product
    }

    pub fn functions(&self) -> &[Function] {
        &self.functions
    }
}

/// Whether `words` stand in `tokens` in this order with nothing between; gives the line.
pub fn find(tokens: &[Token], words: &[&str]) -> Option<usize> {
    let same = |window: &&[Token]| window.iter().zip(words).all(|(token, word)| token.text == *word);
    tokens.windows(words.len()).find(same).map(|window| window[0].line)
}

fn flatten(stream: TokenStream, skip_tests: bool, out: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut index = 0;
    while index < trees.len() {
        if skip_tests && let Some(after) = test_module(&trees, index) {
            index = after;
            continue;
        }
        let tree = &trees[index];
        let line = tree.span().start().line;
        let mut push = |text: String| out.push(Token { text, line });
        match tree {
            TokenTree::Ident(ident) => push(ident.to_string()),
            TokenTree::Punct(punct) => push(punct.as_char().to_string()),
            TokenTree::Literal(_) => {}
            TokenTree::Group(group) => flatten(group.stream(), skip_tests, out),
        }
        index += 1;
    }
}

/// Where `#[cfg(test)] mod name { … }` begins at `index`, the index after it. Attributes may stand between.
fn test_module(trees: &[TokenTree], index: usize) -> Option<usize> {
    let is_mark = |tree: &TokenTree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == '#');
    let bracket = |tree: &TokenTree| match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some(group.stream().to_string()),
        _ => None,
    };
    let mut at = index;
    let mut is_test = false;
    while trees.get(at).is_some_and(is_mark) {
        let attribute = bracket(trees.get(at + 1)?)?;
        is_test |= attribute.replace(' ', "").starts_with("cfg(test)");
        at += 2;
    }
    let is_mod = matches!(trees.get(at)?, TokenTree::Ident(ident) if ident == "mod");
    (is_test && is_mod && matches!(trees.get(at + 2)?, TokenTree::Group(_))).then_some(at + 3)
}

fn functions(stream: TokenStream, out: &mut Vec<Function>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    for (index, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            functions(group.stream(), out);
        }
        let (TokenTree::Ident(keyword), Some(TokenTree::Ident(name))) = (tree, trees.get(index + 1)) else { continue };
        if keyword != "fn" {
            continue;
        }
        // The body is the first brace group before a semicolon.
        let end = trees[index..].iter().find_map(|tree| match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                Some(Some(group.span_close().end().line))
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => Some(None),
            _ => None,
        });
        if let Some(Some(end)) = end {
            let line = keyword.span().start().line;
            out.push(Function { name: name.to_string(), line, lines: end + 1 - line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "//! unsafe\nfn a() {\n    // async\n    let s = \"unsafe\";\n}\n\ntrait T {\n    fn none();\n}\n\
                          #[cfg(test)]\nmod tests {\n    fn b(x: [u8; 3]) -> u8 { std::env::var(\"X\"); x[0] }\n}\n";

    #[test]
    fn comments_and_strings_are_no_tokens() {
        let source = Source::parse("crates/a/src/lib.rs", SAMPLE).expect("Rust");
        assert!(source.all().iter().all(|token| token.text != "unsafe" && token.text != "async"));
        assert_eq!(find(source.all(), &["std", ":", ":", "env"]), Some(12));
        assert_eq!(find(source.product(), &["std", ":", ":", "env"]), None);
        assert_eq!(find(source.product(), &["trait", "T"]), Some(7));
    }

    #[test]
    fn functions_have_their_lines() {
        let source = Source::parse("crates/a/src/lib.rs", SAMPLE).expect("Rust");
        let functions = source.functions();
        let seen: Vec<(&str, usize)> = functions.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(seen, [("a", 4), ("b", 1)]);
    }

    #[test]
    fn places() {
        let place = |path: &str| {
            let source = Source::parse(path, "").expect("Rust");
            (source.krate().to_owned(), source.is_test(), source.is_crate_root())
        };
        assert_eq!(place("crates/a/src/lib.rs"), ("a".into(), false, true));
        assert_eq!(place("crates/a/src/b/lib.rs"), ("a".into(), false, false));
        assert_eq!(place("crates/a/tests/it/main.rs"), ("a".into(), true, false));
        assert_eq!(place("xtask/src/main.rs"), ("xtask".into(), false, true));
        assert!(Source::parse("x.rs", "fn (").is_err());
    }
}
