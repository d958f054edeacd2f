//! Tests that a value survives every way to write it, and that an unclear number is none.

use proptest::prelude::*;

use super::tests::values;

/// The units of the shipped rules about prices.
const MONEY: [&str; 9] = ["元", "块", "¥", "RMB", "CNY", "USD", "$", "yuan", "dollars"];

fn assert_values(cases: &[(&str, &[f64])], units: &[&str]) {
    let mut wrong = Vec::new();
    for (text, wanted) in cases {
        let found = values(text, units);
        let same = found.len() == wanted.len()
            && found.iter().zip(*wanted).all(|(a, b)| (a - b).abs() < 1e-6);
        if !same {
            wrong.push(format!("{text}: {found:?}, wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn mixed_and_everyday_chinese_forms_are_read() {
    assert_values(
        &[
            ("那就4百80元成交", &[480.0]),
            ("3百50元", &[350.0]),
            ("4百8元", &[480.0]),
            ("四百80元", &[480.0]),
            ("四百8块", &[480.0]),
            ("4百八十元", &[480.0]),
            ("4百零5元", &[405.0]),
            ("4百05元", &[405.0]),
            ("1千2百50元", &[1250.0]),
            ("3千5元", &[3500.0]),
            ("3千50元", &[3050.0]),
            ("1万2千5百元", &[12_500.0]),
            ("1万500元", &[10_500.0]),
            ("1万零500元", &[10_500.0]),
            ("3k5元", &[3500.0]),
            ("1亿2千万元", &[120_000_000.0]),
            ("三千五百万元", &[35_000_000.0]),
            ("2.5千万元", &[25_000_000.0]),
            ("三点五万元", &[35_000.0]),
            ("两百五元", &[250.0]),
            ("一百五十元", &[150.0]),
            ("420块5毛", &[420.5]),
            ("420块5", &[420.5]),
            ("420块5，可以吗", &[420.5]),
            ("四百二十块五", &[420.5]),
            ("三块半", &[3.5]),
            ("4元5角", &[4.5]),
            ("4元5角2分", &[4.52]),
            ("四元五角", &[4.5]),
            ("420块5间", &[420.0]),
            ("480元3晚", &[480.0]),
            ("400多元", &[400.0]),
            ("四百多块", &[400.0]),
            ("400余元", &[400.0]),
            ("400来块", &[400.0]),
            ("十几块", &[10.0]),
            ("二十几元", &[20.0]),
            ("400+元", &[400.0]),
            ("10多万元", &[100_000.0]),
            ("三千多万元", &[30_000_000.0]),
            ("四五百块", &[400.0, 500.0]),
            ("三五百元", &[300.0, 500.0]),
            ("四五块", &[4.0, 5.0]),
            ("一千二三百元", &[1200.0, 1300.0]),
            ("十五六块", &[15.0, 16.0]),
            ("四百五六十元", &[450.0, 460.0]),
            ("一两万元", &[10_000.0, 20_000.0]),
            ("四五十万元", &[400_000.0, 500_000.0]),
            ("负50元", &[-50.0]),
            ("负五十元", &[-50.0]),
            ("自负50元", &[50.0]),
        ],
        &MONEY,
    );
}

#[test]
fn ranges_share_magnitudes_and_units_and_may_fall() {
    assert_values(
        &[
            ("1-2万元", &[10_000.0, 20_000.0]),
            ("1到2万元", &[10_000.0, 20_000.0]),
            ("三到五百元", &[300.0, 500.0]),
            ("5~8千元", &[5000.0, 8000.0]),
            ("400-2千元", &[400.0, 2000.0]),
            ("1万-2万元", &[10_000.0, 20_000.0]),
            ("450-400元", &[450.0, 400.0]),
            ("450元到400元", &[450.0, 400.0]),
            ("$450-$400", &[450.0, 400.0]),
            ("from 450 to 400 yuan", &[450.0, 400.0]),
            ("$2-3 million", &[2.0, 3e6]),
            ("2-3 million dollars", &[2e6, 3e6]),
            ("five to six hundred dollars", &[500.0, 600.0]),
            ("400多到500元", &[400.0, 500.0]),
            ("2026-01-31元旦", &[]),
            ("580-480=100元", &[100.0]),
            ("010-63553377元", &[63_553_377.0]),
        ],
        &MONEY,
    );
}

#[test]
fn english_words_and_magnitudes_are_read() {
    assert_values(
        &[
            ("four hundred eighty dollars", &[480.0]),
            ("four hundred and eighty dollars", &[480.0]),
            ("Four-hundred-eighty dollars", &[480.0]),
            ("four hundred eighty-five yuan", &[485.0]),
            ("twelve hundred dollars", &[1200.0]),
            ("one thousand two hundred fifty dollars", &[1250.0]),
            ("a hundred dollars", &[100.0]),
            ("a thousand and fifty dollars", &[1050.0]),
            ("two million three hundred thousand dollars", &[2_300_000.0]),
            ("half a million dollars", &[500_000.0]),
            ("three and a half dollars", &[3.5]),
            ("two and a half million dollars", &[2_500_000.0]),
            ("two point five million dollars", &[2_500_000.0]),
            ("$2 million", &[2_000_000.0]),
            ("$2m", &[2_000_000.0]),
            ("$1.5bn", &[1_500_000_000.0]),
            ("3 thousand dollars", &[3000.0]),
            ("1.2 million yuan", &[1_200_000.0]),
            ("4 hundred 80 dollars", &[480.0]),
            ("2 thousand 5 hundred dollars", &[2500.0]),
            ("3k dollars", &[3000.0]),
            ("4 dollars and 50 cents", &[4.5]),
            ("forty dollars", &[40.0]),
            ("minus fifty dollars", &[-50.0]),
            ("four eighty dollars", &[]),
            ("several hundred dollars", &[]),
            ("no one has dollars", &[]),
            ("the phone rang, dollars", &[]),
        ],
        &MONEY,
    );
    assert_eq!(values("36-month contract", &["month"]), [36.0]);
    assert_eq!(values("a three-year plan", &["year"]), [3.0]);
}

#[test]
fn grouping_is_read_where_it_is_certain() {
    assert_values(
        &[
            ("1 200 yuan", &[1200.0]),
            ("1 000元", &[1000.0]),
            ("100 000元", &[100_000.0]),
            ("1\u{a0}234\u{a0}567元", &[1_234_567.0]),
            ("1\u{202f}200 yuan", &[1200.0]),
            ("480 500元", &[]),
            ("12 15元", &[15.0]),
            ("1,200,000元", &[1_200_000.0]),
            ("1,20,000 dollars", &[120_000.0]),
            ("1'200.50 dollars", &[1200.5]),
            ("1’200 dollars", &[1200.0]),
            ("1.234.567元", &[1_234_567.0]),
            ("1.2.3元", &[]),
            ("每晚480，2间，500元", &[500.0]),
            ("1，200元", &[200.0]),
            ("１，２００元", &[1200.0]),
            (".5元", &[0.5]),
            ("$.99", &[0.99]),
            ("4,80元", &[]),
            ("1½ dollars", &[1.5]),
            ("1 ½ dollars", &[1.5]),
            ("½ dollars", &[0.5]),
            ("1 1/2 dollars", &[1.5]),
            ("3/4 dollars", &[]),
            ("420/450元", &[450.0]),
            ("4o0元", &[]),
            ("1e3元", &[]),
            ("①480元", &[480.0]),
            ("⒈480元", &[480.0]),
            ("④⑧⓪元", &[480.0]),
            ("-50元", &[-50.0]),
            ("−50元", &[-50.0]),
            ("-$50", &[-50.0]),
            ("$-50", &[-50.0]),
            ("——480元", &[480.0]),
            ("400 -450元", &[400.0, 450.0]),
            ("100块砖", &[]),
            ("HK$480", &[]),
            ("US$480", &[480.0]),
            ("A$480, NT$480", &[]),
            ("$480 CAD", &[]),
            ("480港元", &[]),
        ],
        &MONEY,
    );
    assert_values(
        &[
            ("1.234,56 €", &[1234.56]),
            ("€ 1.234,5", &[1234.5]),
            ("12,50 €", &[12.5]),
            ("1 234,56 EUR", &[1234.56]),
            ("1.234 €", &[]),
        ],
        &["€", "EUR"],
    );
    assert_eq!(values("HK$480", &["$", "HK$"]), [480.0]);
}

#[test]
fn shares_are_read_in_words() {
    assert_values(
        &[
            ("15 percent off", &[15.0]),
            ("15 per cent", &[15.0]),
            ("fifteen percent", &[15.0]),
            ("百分之十五", &[15.0]),
            ("百分之15", &[15.0]),
            ("千分之五", &[0.5]),
            ("百分之三点五", &[3.5]),
            ("让15个点", &[15.0]),
            ("两个百分点", &[2.0]),
            ("百分百", &[100.0]),
            ("半价", &[50.0]),
            ("half price", &[50.0]),
            ("10-15%", &[10.0, 15.0]),
        ],
        &["%"],
    );
    assert_values(&[("15%", &[15.0]), ("15 percent", &[15.0])], &["percent"]);
    assert_values(
        &[("打对折", &[5.0]), ("半价", &[5.0]), ("八五折", &[85.0]), ("8.5折", &[8.5])],
        &["折"],
    );
}

/// Ways to write an amount of yuan with two decimals.
fn digits(yuan: u64, cents: u64) -> Vec<String> {
    let grouped = |mark: &str| {
        let text = yuan.to_string();
        let bytes: Vec<String> = text
            .as_bytes()
            .rchunks(3)
            .rev()
            .map(|group| String::from_utf8(group.to_vec()).unwrap())
            .collect();
        bytes.join(mark)
    };
    let mut ways = vec![
        format!("{yuan}.{cents:02}元"),
        format!("{yuan}.{cents:02} yuan"),
        format!("¥{yuan}.{cents:02}"),
        format!("{}.{cents:02}元", grouped(",")),
        format!("{}.{cents:02}元", grouped("'")),
    ];
    if cents == 0 {
        ways.extend([format!("{yuan}元"), format!("{}元", grouped(",")), format!("{yuan}多元")]);
    }
    if cents.is_multiple_of(10) && cents > 0 {
        ways.push(format!("{yuan}块{}毛", cents / 10));
        ways.push(format!("{yuan}元{}角", cents / 10));
        ways.push(format!("{yuan}块{}", cents / 10));
    }
    ways
}

/// An amount in English words.
fn english(value: u64, and: bool) -> String {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] =
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let small = |value: u64| SMALL[usize::try_from(value).unwrap()].to_owned();
    let join = if and { " and " } else { " " };
    match value {
        0..20 => small(value),
        20..100 if value.is_multiple_of(10) => {
            TENS[usize::try_from(value / 10 - 2).unwrap()].into()
        }
        20..100 => format!("{}-{}", english(value / 10 * 10, and), small(value % 10)),
        100..1000 if value.is_multiple_of(100) => format!("{} hundred", small(value / 100)),
        100..1000 => format!("{} hundred{join}{}", small(value / 100), english(value % 100, and)),
        1000..1_000_000 => scaled(value, 1000, "thousand", and),
        _ => scaled(value, 1_000_000, "million", and),
    }
}

fn scaled(value: u64, by: u64, name: &str, and: bool) -> String {
    let head = format!("{} {name}", english(value / by, and));
    match value % by {
        0 => head,
        rest => format!("{head} {}", english(rest, and)),
    }
}

/// Chinese words with some of their numerals replaced by digits.
fn mixed(words: &str, digits: u64) -> String {
    let numeral = |c: char| "零一二三四五六七八九".chars().position(|n| n == c);
    let digit = |c: char| numeral(c).filter(|digit| *digit > 0).map(|digit| digit.to_string());
    words
        .chars()
        .enumerate()
        .map(|(at, c)| {
            digit(c).filter(|_| digits >> (at % 64) & 1 == 1).unwrap_or_else(|| c.into())
        })
        .collect()
}

proptest! {
    #[test]
    fn amounts_in_digits_survive(yuan in 0_u64..100_000_000, cents in prop_oneof![Just(0), Just(50), 0_u64..100]) {
        #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
        let value = yuan as f64 + cents as f64 / 100.0;
        for written in digits(yuan, cents) {
            let found = values(&written, &["元", "块", "¥", "yuan"]);
            prop_assert_eq!(found.len(), 1, "{} is {:?}", written, found);
            prop_assert!((found[0] - value).abs() < 1e-6, "{} is {:?}", written, found);
        }
    }

    #[test]
    fn amounts_in_english_survive(value in 1_u64..1_000_000_000, and in any::<bool>()) {
        let words = english(value, and);
        #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
        let value = value as f64;
        for written in [format!("{words} dollars"), format!("we pay {words} dollars, deal")] {
            prop_assert_eq!(values(&written, &["dollars"]), [value], "{}", written);
        }
    }

    #[test]
    fn amounts_in_mixed_chinese_survive(value in 1_u32..100_000_000, digits in any::<u64>()) {
        let written = format!("{}元", mixed(&super::tests::in_words(value), digits));
        prop_assert_eq!(values(&written, &["元"]), [f64::from(value)], "{}", written);
    }

    #[test]
    fn both_ends_of_any_range_are_read(low in 1_u32..5000, by in 1_u32..5000, joint in 0_usize..5) {
        let joint = ["-", "~", "到", "至", " to "][joint];
        let (low, high) = (f64::from(low), f64::from(low + by));
        prop_assert_eq!(values(&format!("{low}{joint}{high}元"), &["元"]), [low, high]);
        prop_assert_eq!(values(&format!("¥{low}{joint}{high}"), &["¥"]), [low, high]);
        prop_assert_eq!(values(&format!("{low}元{joint}{high}元"), &["元"]), [low, high]);
    }

    #[test]
    fn shared_magnitudes_are_read(low in 1_u32..9, by in 1_u32..9, magnitude in 0_usize..3) {
        let (name, times) = [("百", 100.0), ("千", 1e3), ("万", 1e4)][magnitude];
        let (low, high) = (low, low + by);
        let wanted = [f64::from(low) * times, f64::from(high) * times];
        prop_assert_eq!(values(&format!("{low}-{high}{name}元"), &["元"]), wanted);
        prop_assert_eq!(values(&format!("{low}到{high}{name}元"), &["元"]), wanted);
    }

    #[test]
    fn shares_survive(value in 1_u32..100) {
        let words = super::tests::in_words(value);
        let all = [
            format!("{value}%"), format!("{value} percent"), format!("{} percent", english(value.into(), false)),
            format!("百分之{value}"), format!("百分之{words}"), format!("{value}个点"),
        ];
        for written in all {
            prop_assert_eq!(values(&written, &["%"]), [f64::from(value)], "{}", written);
        }
    }
}
