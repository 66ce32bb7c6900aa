//! Amounts of money as people write them: decimals, held as exact integers.

use crate::failure::Usage;

/// Billionths in one unit of the currency.
const NANO: u64 = 1_000_000_000;
/// Decimals of a price for a million tokens that are whole billionths for one.
const PRICE_DECIMALS: usize = 3;
const AMOUNT_DECIMALS: usize = 9;

/// Billionths for one token, of a price for a million.
///
/// # Errors
/// It is no amount, or finer than a billionth for a token.
pub fn price(text: &str) -> Result<u64, Usage> {
    decimal(text, PRICE_DECIMALS)
}

/// Billionths of an amount.
///
/// # Errors
/// It is no amount.
pub fn amount(text: &str) -> Result<u64, Usage> {
    decimal(text, AMOUNT_DECIMALS)
}

/// A price for a million tokens, of billionths for one.
pub fn show_price(nano: u64) -> String {
    format!("{}.{:03}", nano / 1000, nano % 1000)
}

/// An amount, to a ten-thousandth.
pub fn show(nano: u64) -> String {
    let rounded = nano.saturating_add(NANO / 20_000) / (NANO / 10_000);
    format!("{}.{:04}", rounded / 10_000, rounded % 10_000)
}

fn decimal(text: &str, decimals: usize) -> Result<u64, Usage> {
    let refuse =
        || Usage(format!("`{text}` is no amount; write a number with at most {decimals} decimals, such as 0.15"));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > decimals {
        return Err(refuse());
    }
    format!("{whole}{part:0<decimals$}").parse().map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, nano) in [("0.15", 150), ("2", 2000), (".001", 1), ("10.500", 10_500)] {
            assert_eq!(price(text).ok(), Some(nano), "{text}");
        }
        assert_eq!(amount("1.5").ok(), Some(1_500_000_000));
        for bad in ["", ".", "-1", "1,5", "0.0001", "1e3", "99999999999999999999"] {
            assert!(price(bad).is_err(), "{bad}");
        }
        assert_eq!((show_price(150), show_price(10_500)), ("0.150".into(), "10.500".into()));
        assert_eq!(
            (show(1_500_000_000), show(49_999), show(50_000)),
            ("1.5000".into(), "0.0000".into(), "0.0001".into())
        );
    }
}
