//! Stop strings over streamed text.
//!
//! The string that is completed first ends the text, wherever tokens begin and end; of two that end together, the longer
//! one. Text that may still become part of a stop string is held back, so that none of it leaks. Linear time: one
//! Knuth–Morris–Pratt automaton for each string.

/// What a piece of text gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Text that is safe to show.
    pub text: String,
    /// A stop string was completed; nothing more comes.
    pub stopped: bool,
}

/// Finds stop strings in text that comes in pieces.
#[derive(Debug)]
pub struct StopMatcher {
    patterns: Vec<Pattern>,
    /// Text not shown yet: the longest end of the text so far that begins a stop string.
    held: String,
}

impl StopMatcher {
    /// `stops`: not empty strings.
    pub fn new(stops: &[String]) -> Self {
        Self { patterns: stops.iter().map(|stop| Pattern::new(stop.as_bytes())).collect(), held: String::new() }
    }

    pub fn push(&mut self, text: &str) -> Pushed {
        if self.patterns.is_empty() {
            return Pushed { text: text.to_owned(), stopped: false };
        }
        let from = self.held.len();
        self.held.push_str(text);
        for (offset, byte) in text.bytes().enumerate() {
            let matched = self.patterns.iter_mut().filter_map(|pattern| pattern.step(byte)).max();
            if let Some(length) = matched {
                let start = from + offset + 1 - length;
                let mut text = std::mem::take(&mut self.held);
                // A match begins at a character's first byte, because the stop string does.
                text.truncate(start);
                return Pushed { text, stopped: true };
            }
        }
        let keep = self.patterns.iter().map(|pattern| pattern.state).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Pushed { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What is left when the text ends without a stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[derive(Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// `fallback[i]`: length of the longest proper prefix of `bytes[..=i]` that is also its end.
    fallback: Vec<usize>,
    /// Bytes matched so far; always below `bytes.len()`.
    state: usize,
}

impl Pattern {
    fn new(bytes: &[u8]) -> Self {
        let mut fallback = vec![0; bytes.len()];
        for i in 1..bytes.len() {
            let mut length: usize = fallback[i - 1];
            while length > 0 && bytes[i] != bytes[length] {
                length = fallback[length - 1];
            }
            fallback[i] = length + usize::from(bytes[i] == bytes[length]);
        }
        Self { bytes: bytes.to_vec(), fallback, state: 0 }
    }

    /// The pattern's length when this byte completes it.
    fn step(&mut self, byte: u8) -> Option<usize> {
        while self.state > 0 && self.bytes[self.state] != byte {
            self.state = self.fallback[self.state - 1];
        }
        self.state += usize::from(self.bytes[self.state] == byte);
        (self.state == self.bytes.len()).then_some(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::StopMatcher;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut shown = Vec::new();
        for piece in pieces {
            let pushed = matcher.push(piece);
            shown.push(pushed.text);
            if pushed.stopped {
                return (shown, true);
            }
        }
        shown.push(matcher.finish());
        (shown, false)
    }

    fn check(stops: &[&str], pieces: &[&str], shown: &[&str], stopped: bool) {
        let (got, got_stopped) = run(stops, pieces);
        assert_eq!((got.iter().map(String::as_str).collect::<Vec<_>>(), got_stopped), (shown.to_vec(), stopped));
    }

    #[test]
    fn a_stop_string_may_span_pieces() {
        check(&["END"], &["aE", "N", "Db"], &["a", "", ""], true);
        check(&["END"], &["aE", "N", "x"], &["a", "", "ENx", ""], false);
        check(&["END"], &["aEN"], &["a", "EN"], false);
        check(&["aab"], &["aaa", "b"], &["a", ""], true);
    }

    #[test]
    fn the_one_completed_first_wins_then_the_longer() {
        check(&["STOP", "END"], &["xENDySTOP"], &["x"], true);
        check(&["abcd", "bc"], &["abcd"], &["a"], true);
        check(&["bc", "abc"], &["xab", "c"], &["x", ""], true);
    }

    #[test]
    fn characters_stay_whole() {
        check(&["é!"], &["caf", "é", "s"], &["caf", "", "és", ""], false);
        check(&["日本"], &["x日", "本"], &["x", ""], true);
    }

    /// Whatever the pieces, the text is the text before the first completed stop string (found here by brute force).
    #[test]
    fn pieces_do_not_matter() {
        let stops = ["aba", "bb", "abab", "cab"];
        let mut state = 7u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for _ in 0..3000 {
            let text: String = (0..random(14)).map(|_| ["a", "b", "c", "é"][random(4) as usize]).collect();
            let text = text.as_str();
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            let first = ends
                .flat_map(|end| {
                    stops.iter().filter(move |s| text[..end].ends_with(**s)).map(move |s| (end, end - s.len()))
                })
                .min();
            let expected = first.map_or(text, |(_, start)| &text[..start]);
            let mut pieces: Vec<String> = vec![String::new()];
            for c in text.chars() {
                pieces.last_mut().expect("one").push(c);
                if random(2) == 0 {
                    pieces.push(String::new());
                }
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (shown, stopped) = run(&stops, &pieces);
            assert_eq!((shown.concat().as_str(), stopped), (expected, first.is_some()), "{pieces:?}");
        }
    }
}
