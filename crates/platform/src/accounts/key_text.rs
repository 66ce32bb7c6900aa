//! The text of an API key: `orr_`, 32 random letters and digits (190 bits), and 6 that check the rest.
//!
//! The prefix lets scanners find a key that leaked; the check (CRC-32 of what stands before it, base 62) tells a mistyped
//! key from an unknown one before anything is looked up. Only the sha256 of the text is ever stored.

use crate::Error;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "orr_";
const RANDOM: usize = 32;
const CHECK: usize = 6;
/// Characters of a key.
pub const KEY_CHARS: usize = PREFIX.len() + RANDOM + CHECK;
/// Characters that lists show.
const HINT: usize = 8;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A fresh key.
pub fn generate() -> Result<String, Error> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(KEY_CHARS);
    text.push_str(PREFIX);
    let mut bytes = [0; 2 * RANDOM];
    while text.len() < PREFIX.len() + RANDOM {
        random.fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
        // 248 is the largest multiple of 62 in a byte: what lies above would make the first characters likelier.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(*byte % 62)] as char);
        text.extend(fair.take(PREFIX.len() + RANDOM - text.len()));
    }
    let check = check(&text);
    text.push_str(&check);
    Ok(text)
}

/// Whether the text can be a key at all.
pub fn is_well_formed(text: &str) -> bool {
    let plain = text.len() == KEY_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && text.starts_with(PREFIX) && text[KEY_CHARS - CHECK..] == check(&text[..KEY_CHARS - CHECK])
}

/// What is stored of a key, and what it is looked up by.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The first characters, for lists.
pub fn hint(text: &str) -> String {
    text.chars().take(HINT).collect()
}

fn check(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut letters = [b'0'; CHECK];
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[rest % 62];
        rest /= 62;
    }
    letters.iter().map(|letter| *letter as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_are_well_formed() {
        let keys: std::collections::BTreeSet<String> = (0..100).map(|_| generate().expect("random")).collect();
        assert_eq!(keys.len(), 100);
        for key in &keys {
            assert!(key.len() == 42 && is_well_formed(key), "{key}");
            assert!(key.starts_with(&hint(key)) && hint(key).len() == 8);
        }
    }

    #[test]
    fn every_changed_character_shows() {
        let key = generate().expect("random");
        for at in 0..KEY_CHARS {
            let mut other = key.clone().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(std::str::from_utf8(&other).expect("ASCII")), "{at}");
        }
        for bad in ["", "orr_", &key[1..], &format!("{key}0"), "ключ", &"é".repeat(21)] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn the_check_is_what_another_program_computes() {
        // From Python: zlib.crc32(b"orr_" + b"0" * 32) is 4037725816, which is 4PFsvw in base 62.
        assert!(is_well_formed(&format!("orr_{}4PFsvw", "0".repeat(32))));
    }
}
