//! Quoted words. Quotation marks alone do not make words reported, because a policy could hide its
//! words in them: a verb of speech or a noun such as `the phrase` must stand next to them.

use super::parts::{CueBytes, ReportedWords};
use super::reader::{ClauseReader, place};
use super::{chinese, english};
use crate::text::sentences::ends_sentence;
use crate::text::steps;

/// The bytes before a quotation that are read for a cue.
const CUE_BYTES: usize = 48;
/// The greatest length of a quotation, in bytes.
const MAX_QUOTE: usize = 600;

/// Adds the quotations with a cue to the reports.
pub(super) fn add_quoted(reader: &mut ClauseReader<'_>, is_over: &dyn Fn() -> bool) {
    let text = reader.text;
    let mut open: Option<(usize, char)> = None;
    let mut quotes: Vec<(CueBytes, usize)> = Vec::new();
    for (at, c) in text.char_indices() {
        steps::add(1);
        if is_over() {
            break;
        }
        match (open, c) {
            (None, '"' | '“' | '「' | '『' | '《') => open = Some((at, c)),
            (Some((start, opened)), _) if closes(opened, c) => {
                quotes.push(([place(start + opened.len_utf8()), place(at)], at + c.len_utf8()));
                open = None;
            }
            (Some((start, _)), _) if c == '\n' || at - start > MAX_QUOTE => open = None,
            _ => {}
        }
    }
    let mut quoted = Vec::new();
    for ([start, end], after) in quotes {
        if let Some(cue) = cue(reader, start, after) {
            quoted.push(ReportedWords { words: [start, end], cue });
        }
    }
    if !quoted.is_empty() {
        let reports = reader.reports();
        reports.append(&mut quoted);
        reports.sort_by_key(|report| report.words);
        // The search by start would find a nested report instead of the one around it.
        let mut end = 0;
        reports.retain(|report| {
            let covered = report.words[1] <= end;
            end = end.max(report.words[1]);
            !covered
        });
    }
}

const fn closes(opened: char, c: char) -> bool {
    matches!((opened, c), ('"' | '“', '"' | '”') | ('「', '」') | ('『', '』') | ('《', '》'))
}

/// The cue before or after a quotation.
fn cue(reader: &mut ClauseReader<'_>, start: u32, after: usize) -> Option<CueBytes> {
    let text = reader.text;
    let open = text.get(..start as usize)?.char_indices().next_back()?.0;
    let mut from = open.saturating_sub(CUE_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let ahead = text.get(from..open)?.trim_end_matches([' ', ',', ':', '，', '：']);
    let end = from + ahead.len();
    if let Some(length) =
        english::ends_with_mention(ahead).or_else(|| chinese::ends_with_mention(ahead))
    {
        return Some([place(end - length), place(end)]);
    }
    // A verb of speech before the quotation began a report there already.
    let reports = reader.reports();
    let begun = reports.partition_point(|report| report.cue[1] as usize <= open);
    if let Some(report) = begun.checked_sub(1).and_then(|last| reports.get(last))
        && report.cue[0] as usize >= from
    {
        return Some(report.cue);
    }
    // `"…", he said`
    let rest = text.get(after..)?;
    let mut words =
        rest.trim_start_matches([' ', ',', '.', '，', '。']).split(|c: char| !c.is_alphanumeric());
    let (subject, verb) = (words.next()?, words.next()?);
    let said = matches!(verb, "said" | "says" | "asked" | "told" | "wrote" | "claimed");
    if said
        && !matches!(subject, "i" | "we")
        && !rest.starts_with(|c: char| ends_sentence(rest, 0, c))
    {
        let at = after + rest.find(verb)?;
        return Some([place(at), place(at + verb.len())]);
    }
    None
}
