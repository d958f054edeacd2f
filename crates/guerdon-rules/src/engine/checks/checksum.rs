//! Check digits of card and identity numbers.

use crate::syntax::pack::Checksum;

/// Returns true if the digits of a folded text keep a rule of check digits. Other characters are
/// skipped, except an `x` behind a digit, which is 10 as the last digit of an identity number.
pub(crate) fn keeps_checksum(checksum: Checksum, text: &str) -> bool {
    match checksum {
        Checksum::Luhn => luhn(text),
        Checksum::Mod11 => mod11(text),
    }
}

fn luhn(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .fold(0, u32::wrapping_add);
    sum.is_multiple_of(10)
}

fn mod11(text: &str) -> bool {
    // Horner's scheme: each digit doubles what stands before it.
    let digits = text.chars().filter_map(|c| match c {
        'x' | 'X' => Some(10),
        _ => c.to_digit(10),
    });
    digits.fold(0, |sum, digit| (sum * 2 + digit) % 11) == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_numbers_keep_their_rule() {
        for card in ["4111 1111 1111 1111", "5555-5555-5555-4444", "6011111111111117"] {
            assert!(keeps_checksum(Checksum::Luhn, card), "{card}");
        }
        for number in ["11010519491231002X", "110105 19491231 002x"] {
            assert!(keeps_checksum(Checksum::Mod11, number), "{number}");
        }
    }

    proptest! {
        #[test]
        fn one_check_digit_in_ten_or_eleven_fits(body in "[0-9]{15,18}", other in 0_usize..10) {
            let luhn: Vec<char> = ('0'..='9')
                .filter(|digit| keeps_checksum(Checksum::Luhn, &format!("{body}{digit}")))
                .collect();
            prop_assert_eq!(luhn.len(), 1);
            let mod11 = "0123456789x"
                .chars()
                .filter(|digit| keeps_checksum(Checksum::Mod11, &format!("{body}{digit}")));
            prop_assert_eq!(mod11.count(), 1);
            // A wrong digit breaks the rule.
            let whole = format!("{body}{}", luhn.first().unwrap());
            let digit = whole.chars().nth(other).unwrap();
            for wrong in ('0'..='9').filter(|wrong| *wrong != digit) {
                let changed: String = whole
                    .chars()
                    .enumerate()
                    .map(|(at, c)| if at == other { wrong } else { c })
                    .collect();
                prop_assert!(!keeps_checksum(Checksum::Luhn, &changed));
            }
        }
    }
}
