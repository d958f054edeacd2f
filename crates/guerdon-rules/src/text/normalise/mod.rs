//! Folding: what a learning policy may vary without changing what a reader sees is made one before rules look at it.
//!
//! Width, compatibility forms, letter case, Latin accents, zero-width and direction marks, look-alike letters, digits of
//! other scripts, traditional characters, exotic and repeated spaces. Character by character, so that the way back is
//! exact: spans are told in the original. What takes more than one character to see (`w o r k`, `w0rk`) is `loose.rs`'s.
//!
//! Folding is one pass over runs of a kind; whatever stays as it is gets copied whole. On the way it notes what later
//! passes would otherwise have to look for: which characters there are, where numbers begin, and whether anything is
//! spaced out or spelt with digits.

mod characters;
mod folder;
mod loose;
mod runs;
mod view;

pub(crate) use loose::{Loose, skeleton};
pub(crate) use runs::Longest;
pub(crate) use view::View;

/// `text` as rules see it: width, case, invisible characters, look-alike letters, traditional characters and runs of
/// spaces made one.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut view = View::default();
    view.read_folded(text);
    view.text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> View {
        let mut view = View::default();
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
        assert_eq!(fold("目標價是٤٢٠"), "目标价是420");
        assert_eq!(fold("don’t\r\n"), "don't \n");
        assert_eq!(fold(" \u{fe72}"), " \u{64c}");
    }

    #[test]
    fn a_span_is_told_in_the_original_and_covers_what_was_dropped() {
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
        fn the_way_back_never_falls_and_stays_within(text in "(?:\\PC|[ 　\t\u{200b}ﷺ①價４a工])*") {
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
        fn a_character_folds_on_its_own_to_what_it_folds_to_in_its_text(text in "(?:\\PC|[a４價， 工]){0,20}") {
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
        fn folding_twice_is_folding_once(text in "[ -~\u{4e00}-\u{4e20}０-９Ａ-Ｚ\u{200b}\u{3000}а-я價標]*") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }

        #[test]
        fn no_run_is_longer_than_it_is_said_to_be(text in "(?:\\PC|[a-zＡ-Ｚ工单價\u{200b}㏂㎏㍿ ]){0,40}") {
            let view = folded(&text);
            let longest = |has: fn(char) -> bool| {
                view.text().split(|c| !has(c)).map(|run| run.chars().count()).max().unwrap_or(0)
            };
            prop_assert!(longest(|c| c.is_ascii_lowercase()) <= view.longest.letters);
            let ideographs = longest(|c| matches!(c, '\u{4e00}'..='\u{9fff}'));
            prop_assert!(ideographs <= view.longest.ideographs);
        }

        #[test]
        fn every_character_of_the_view_is_present(text in "(?:\\PC|[a-z0-9，。工])*") {
            let view = folded(&text);
            for c in view.text().chars() {
                prop_assert!(view.present.may_have(c), "{c:?}");
            }
        }
    }
}
