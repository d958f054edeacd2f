//! Versions of rubrics: a hash in the file ties the version number to the text.
//!
//! `hash = "sha256:…"` in the front matter is the hash of everything else in the file. A text that
//! was edited without a new version does not match its hash and is refused. The error names the
//! remedy: `guerdon judge bump` raises the version and writes the new hash. A file without `hash`
//! is a draft. It loads, so that a change can be tried at once, but `guerdon judge check --sealed`
//! refuses it. A measured agreement with people (`[calibrated]`) is not part of the hashed text.

use std::ops::Range;

/// `text` without the byte order mark that some editors write first.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The hash of a rubric's text. It covers every line except the hash, the calibration and the blank
/// lines of the front matter. A byte order mark and the kind of line ends do not matter.
pub(crate) fn content_hash(text: &str) -> String {
    let mut content = String::with_capacity(text.len());
    let mut fences = 0;
    let mut calibrated = false;
    for line in text.lines() {
        let line = line.trim_end();
        let line = if fences == 0 { without_mark(line) } else { line };
        fences += usize::from(line == "+++");
        let in_front = fences == 1;
        if in_front && line.starts_with('[') {
            calibrated = line == "[calibrated]";
        }
        let is_seal = in_front && key(line) == Some("hash");
        let is_measured = in_front && calibrated && line != "+++";
        if is_seal || is_measured || (in_front && line.is_empty()) {
            continue;
        }
        content.push_str(line);
        content.push('\n');
    }
    guerdon_text::content_hash(&content)
}

fn key(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim())
}

/// Seals `text`: writes the hash if there is none, and raises the version and replaces the hash if
/// the text was edited. Otherwise returns it unchanged. Apart from its hash, `text` must be a
/// prompt that compiles.
pub(crate) fn sealed(text: &str) -> String {
    let hash = content_hash(text);
    let Some(old) = line_of(text, "hash") else {
        return with_line(text, "hash", &format!("hash = \"{hash}\""));
    };
    if text.get(old).is_some_and(|line| line.contains(&hash)) {
        return text.to_owned();
    }
    let version = line_of(text, "version").and_then(|line| text.get(line)).unwrap_or_default();
    let version: u32 =
        version.split_once('=').and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0);
    let raised = with_line(text, "version", &format!("version = {}", version.saturating_add(1)));
    let hash = content_hash(&raised);
    with_line(&raised, "hash", &format!("hash = \"{hash}\""))
}

/// `text` with `stamp` as its `[calibrated]` table, in place of an earlier one.
pub(crate) fn stamped(text: &str, stamp: &KappaStamp) -> String {
    let KappaStamp { kappa, model, gold, hash } = stamp;
    let table = format!(
        "[calibrated]\nkappa = {kappa:.4}\nmodel = {model:?}\ngold = {gold:?}\nhash = {hash:?}\n"
    );
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines = text.lines();
    let mut out = String::new();
    let mut fences = 0;
    let mut skipping = false;
    for line in &mut lines {
        let bare = without_mark(line).trim_end();
        fences += usize::from(bare == "+++");
        if fences == 1 && bare.starts_with('[') {
            skipping = bare == "[calibrated]";
        }
        if fences == 2 {
            out = out.trim_end().to_owned();
            out.push_str(line_end);
            for line in std::iter::once("").chain(table.lines()) {
                out.push_str(line);
                out.push_str(line_end);
            }
            out.push_str("+++");
            out.push_str(line_end);
            break;
        }
        if !skipping {
            out.push_str(line);
            out.push_str(line_end);
        }
    }
    for line in lines {
        out.push_str(line);
        out.push_str(line_end);
    }
    out
}

/// Agreement of a judge with people, measured on one version of a rubric.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KappaStamp {
    /// The lowest Cohen's kappa of a criterion.
    pub(crate) kappa: f64,
    /// The judge model.
    pub(crate) model: String,
    /// The hash of the file of human labels.
    pub(crate) gold: String,
    /// The content hash of the rubric that was measured.
    pub(crate) hash: String,
}

/// Byte range of the line that sets `name` at the top of the front matter, without its line end.
fn line_of(text: &str, name: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        if number > 0 && (bare == "+++" || bare.starts_with('[')) {
            return None;
        }
        if key(bare) == Some(name) {
            return Some(at..at + bare.len());
        }
        at += line.len();
    }
    None
}

/// `text` with the line that sets `name` replaced by `line`. If there is none, `line` is inserted
/// after the version.
fn with_line(text: &str, name: &str, line: &str) -> String {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (start, end, line) = match (line_of(text, name), line_of(text, "version")) {
        (Some(old), _) => (old.start, old.end, line.to_owned()),
        (None, Some(version)) => (version.end, version.end, format!("{line_end}{line}")),
        (None, None) => return text.to_owned(),
    };
    let (before, after) =
        (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
    format!("{before}{line}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "+++\nid = \"a\"\nversion = 3\n\n[[criteria]]\nid = \"c\"\n+++\n# system\nhash = 1\n# user\n";

    /// `text` as editors on other systems save it.
    fn saved_elsewhere(text: &str) -> [String; 3] {
        let windows = text.replace('\n', "\r\n");
        [windows.clone(), format!("\u{feff}{text}"), format!("\u{feff}{windows}")]
    }

    #[test]
    fn sealing_keeps_the_byte_order_mark_and_the_line_ends() {
        let once = sealed(TEXT);
        for text in saved_elsewhere(TEXT) {
            let sealed = sealed(&text);
            assert_eq!(without_mark(&sealed).replace("\r\n", "\n"), once, "{sealed:?}");
            assert_eq!(sealed.starts_with('\u{feff}'), text.starts_with('\u{feff}'));
            let bare = sealed.matches('\n').count() - sealed.matches("\r\n").count();
            assert!(bare == 0 || !text.contains('\r'), "{sealed:?}");
        }
    }

    #[test]
    fn sealing_edited_text_raises_the_version() {
        let once = sealed(TEXT);
        assert!(once.contains("version = 3\nhash = \"sha256:"), "{once}");
        assert_eq!(content_hash(&once), content_hash(TEXT));
        assert_eq!(sealed(&once), once);
        let edited = once.replace("# system", "# system\nBe strict.");
        let again = sealed(&edited);
        assert!(again.contains("version = 4\n"), "{again}");
        assert_eq!(sealed(&again), again);
        assert_ne!(content_hash(&again), content_hash(&once));
    }

    #[test]
    fn line_ends_and_calibration_do_not_change_the_hash() {
        let measured = KappaStamp {
            kappa: 0.5,
            model: "m".to_owned(),
            gold: "g".to_owned(),
            hash: content_hash(TEXT),
        };
        let once = stamped(TEXT, &measured);
        assert!(once.contains("[calibrated]\nkappa = 0.5000\n"), "{once}");
        assert_eq!(content_hash(&once), content_hash(TEXT), "{once}");
        for text in saved_elsewhere(TEXT) {
            assert_eq!(content_hash(&text), content_hash(TEXT), "{text:?}");
            let stamped = stamped(&text, &measured);
            assert_eq!(content_hash(&stamped), content_hash(TEXT), "{stamped:?}");
            let plain = without_mark(&stamped).replace("\r\n", "\n");
            assert_eq!(plain, once, "{stamped:?}");
            let ends = |end: &str| stamped.matches(end).count();
            assert!(ends("\r\n") == 0 || ends("\r\n") == ends("\n"), "one kind of line end");
        }
        let again = stamped(&once, &KappaStamp { kappa: 0.7, ..measured });
        assert_eq!(again.matches("[calibrated]").count(), 1, "{again}");
        assert!(again.contains("kappa = 0.7000"));
        assert_ne!(
            content_hash(&TEXT.replace("hash = 1", "hash = 2")),
            content_hash(TEXT),
            "a line `hash = …` in the body is hashed"
        );
    }
}
