//! Reads a list of URLs.

use reqwest::Url;

/// The URLs in `text`: one, or several separated by commas. A comma separates only before a scheme,
/// so that a URL with a comma in its query stays one.
///
/// # Errors
/// The fault in words, without secrets.
pub(crate) fn parse_urls(text: &str) -> Result<(Url, Vec<Url>), String> {
    let (first, rest) = split(text);
    let first = parse_url(first)?;
    let mut others: Vec<Url> = Vec::new();
    for part in rest {
        let url = parse_url(part)?;
        if std::iter::once(&first).chain(&others).any(|other| address(other) == address(&url)) {
            return Err(format!("names {} twice; name each server once", address(&url)));
        }
        others.push(url);
    }
    Ok((first, others))
}

/// The URL without user, password, query and a slash at its end.
pub(crate) fn address(url: &Url) -> String {
    let path = url.path().trim_end_matches('/');
    format!("{}{path}", url.origin().ascii_serialization())
}

/// The first URL and the others. One URL is left as it is.
fn split(text: &str) -> (&str, Vec<&str>) {
    let begins_url = |rest: &str| {
        let rest = rest.trim_start().to_ascii_lowercase();
        rest.starts_with("http://") || rest.starts_with("https://")
    };
    let commas = text.match_indices(',').map(|(at, _)| at);
    let mut cuts = commas.filter(|at| text.get(at + 1..).is_some_and(begins_url)).peekable();
    let Some(first) = cuts.peek().and_then(|at| text.get(..*at)) else { return (text, Vec::new()) };
    let mut rest = Vec::new();
    while let Some(at) = cuts.next() {
        let end = cuts.peek().copied().unwrap_or(text.len());
        rest.extend(text.get(at + 1..end).map(str::trim));
    }
    (first.trim(), rest)
}

fn parse_url(text: &str) -> Result<Url, String> {
    let example = "give one such as \"http://127.0.0.1:8787\"";
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); {example}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("has scheme `{}`, not http or https; {example}", url.scheme()));
    }
    if url.host_str().is_some_and(|host| host.contains(',')) {
        return Err("has a comma in a host; write every URL of a list with its scheme, such as \
                    \"http://a:8787,http://b:8787\""
            .to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        let (first, others) = parse_urls(text).unwrap();
        std::iter::once(&first).chain(&others).map(address).collect()
    }

    #[test]
    fn list_is_split_before_schemes_only() {
        assert_eq!(addresses("http://a:1"), ["http://a:1"]);
        assert_eq!(
            addresses("http://a:1, HTTPS://b/x/ ,http://c"),
            ["http://a:1", "https://b/x", "http://c"]
        );
        assert_eq!(addresses("http://a/?keys=1,2"), ["http://a"]);
    }

    #[test]
    fn wrong_list_is_refused_without_its_secrets() {
        let refused = |text: &str| parse_urls(text).unwrap_err();
        assert!(refused("http://me:s3cret@a/?k=s3cret,http://a/").contains("http://a twice"));
        assert!(!refused("http://me:s3cret@a/,http://a/").contains("s3cret"));
        assert!(refused("http://a:1,b:2").contains("not a URL"));
        assert!(refused("http://a,b:2").contains("comma in a host"));
        assert!(refused("http://a,").contains("comma in a host"));
        assert!(refused("http://a,http://").contains("not a URL"));
    }
}
