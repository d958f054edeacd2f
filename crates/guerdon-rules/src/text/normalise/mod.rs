//! Folding: spellings that look alike to a reader become one before rules read a text, so that a
//! learning policy cannot hide a word by varying them.
//!
//! Folds width, compatibility forms, letter case, Latin accents, zero-width and direction marks,
//! look-alike letters, digits of other scripts, traditional characters, exotic and repeated spaces.
//! Each character is folded on its own, so that spans can be reported in the original exactly.
//! `loose.rs` finds disguises of several characters (`w o r k`, `w0rk`).
//!
//! Folding is one pass over runs of characters of a kind. Unchanged runs are copied whole. The pass
//! also notes the characters that occur, the places where numbers begin, and signs of words that
//! are spaced out or spelt with digits, so that later passes need not look for them.

mod characters;
mod digit_words;
mod disguise;
mod folder;
mod loose;
mod runs;
mod spelling;
mod unmasked;
mod view;

pub(crate) use disguise::DisguiseReadings;
pub(crate) use loose::{joined_form, loose_form};
pub(crate) use runs::LongestRuns;
pub(crate) use unmasked::UnmaskedText;
pub(crate) use view::FoldedText;

/// The folded form of `text`: width, case, invisible characters, look-alike letters, traditional
/// characters and runs of spaces are unified.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut view = FoldedText::default();
    view.read_folded(text);
    view.text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> FoldedText {
        let mut view = FoldedText::default();
        view.read_folded(text);
        view
    }

    #[test]
    fn width_case_marks_and_look_alikes_fold_to_one() {
        assert_eq!(fold("Ｗｏｒｋ\u{3000} Order"), "work order");
        assert_eq!(fold("wо\u{200b}rk"), "work");
        assert_eq!(fold("４８０￥"), "480¥");
        assert_eq!(fold("Café"), "cafe");
        assert_eq!(fold("工\u{feff}单"), "工单");
        assert_eq!(fold("𝓌𝕠𝐫𝚔 ⓞⓡⓓⓔⓡ"), "work order");
        assert_eq!(fold("🅆🄾🅡🅺"), "work");
        assert_eq!(fold("⒲⒪⒭⒦ 🄦🄞🄡🄚"), "work work");
        assert_eq!(fold("ᎳᎾᎡ Ꮃօrκ ꓪꓳꓣꓗ"), "wor work work");
        assert_eq!(fold("w\u{0}o\u{17b4}r\u{483}k\u{fe20}"), "work");
        assert_eq!(fold("wørk đeał"), "work deal");
        assert_eq!(fold("0 1 rn З 3"), "0 1 rn з 3");
        assert_eq!(fold("目標價是٤٢٠"), "目标价是420");
        assert_eq!(fold("don’t\r\n"), "don't \n");
        assert_eq!(fold(" \u{fe72}"), " \u{64c}");
    }

    #[test]
    fn spans_refer_to_the_original_and_cover_dropped_characters() {
        let original = "按工\u{200b}单，好";
        let view = folded(original);
        let at = view.text().find("工单").unwrap();
        assert_eq!(view.span(original, &(at..at + "工单".len())), [1, 4]);
        assert!(view.is_disguised(&(at..at + "工单".len())));
        assert!(!view.is_disguised(&(0.."按工".len())));
        assert!(!view.is_disguised(&(at + "工".len()..at + "工单，".len() - 2)));
    }

    #[test]
    fn spaced_out_and_digit_spelt_words_are_noticed_and_prices_are_not() {
        let parted =
            ["工 单", "工*单", "工--单", "工- 单", "工\t\t\t单", "工　　　单", "工 \t　*单"];
        let latin = ["our w o r k order", "w0rk", "wo*rk", "0rder", "P@rtner", "ｗ０ｒｋ"];
        for odd in parted.into_iter().chain(latin) {
            assert!(folded(odd).suspicious, "{odd}");
        }
        for plain in ["480元", "I am here", "a 2-bed room", "房间，可以", "3.5 stars", "USD 420"]
        {
            assert!(!folded(plain).suspicious, "{plain}");
        }
    }

    proptest! {
        #[test]
        fn spans_are_ascending_and_within_the_text(text in "(?:\\PC|[ 　\t\u{200b}ﷺ①價４a工])*") {
            let view = folded(&text);
            let chars = text.chars().count();
            let mut last = 0;
            for (at, c) in view.text().char_indices() {
                let [start, end] = view.span(&text, &(at..at + c.len_utf8()));
                prop_assert!(last <= start && start < end && end <= chars, "{at} {start} {end}");
                last = start;
            }
        }

        #[test]
        fn folding_is_independent_of_neighbours(text in "(?:\\PC|[a４價， 工]){0,20}") {
            let mut alone = String::new();
            for c in text.chars() {
                for f in fold(&c.to_string()).chars() {
                    if f != ' ' || !alone.ends_with(' ') {
                        alone.push(f);
                    }
                }
            }
            prop_assert_eq!(fold(&text), alone);
        }

        #[test]
        fn folding_is_idempotent(text in "[ -~\u{4e00}-\u{4e20}０-９Ａ-Ｚ\u{200b}\u{3000}а-я價標]*") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }

        #[test]
        fn run_lengths_are_upper_bounds(text in "(?:\\PC|[a-zＡ-Ｚ工单價\u{200b}㏂㎏㍿ ]){0,40}") {
            let view = folded(&text);
            let longest = |has: fn(char) -> bool| {
                view.text().split(|c| !has(c)).map(|run| run.chars().count()).max().unwrap_or(0)
            };
            prop_assert!(longest(|c| c.is_ascii_lowercase()) <= view.longest.letters);
            let ideographs = longest(|c| matches!(c, '\u{4e00}'..='\u{9fff}'));
            prop_assert!(ideographs <= view.longest.ideographs);
        }

        #[test]
        fn every_character_is_in_the_set(text in "(?:\\PC|[a-z0-9，。工])*") {
            let view = folded(&text);
            for c in view.text().chars() {
                prop_assert!(view.present.may_have(c), "{c:?}");
            }
        }
    }
}
