//! The headers `x-guerdon-run`, `x-guerdon-step` and `x-guerdon-split`: labels for the ledger. They
//! work on every scoring route, also for trainers' protocols that have no field for them.

use guerdon_ledger::Labels;
use guerdon_types::{IncomingRequest, Invalid, ProblemCode};
use http::{HeaderMap, HeaderName};

const RUN: HeaderName = HeaderName::from_static("x-guerdon-run");
const STEP: HeaderName = HeaderName::from_static("x-guerdon-step");
const SPLIT: HeaderName = HeaderName::from_static("x-guerdon-split");

/// The labels in the headers.
pub(crate) type HeaderLabels = Result<Labels, Invalid>;

/// Reads the headers.
pub(crate) fn header_labels(headers: &HeaderMap) -> HeaderLabels {
    let step = text(headers, &STEP)?.map(|step| {
        step.trim().parse().map_err(|_| {
            invalid(&STEP, "it is not a whole number").hint("send the step, counting from 0")
        })
    });
    Ok(Labels { run: text(headers, &RUN)?, step: step.transpose()?, split: text(headers, &SPLIT)? })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Invalid> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(name, "it is given more than once"));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
        Err(_) => Err(invalid(name, "it is not UTF-8")),
    }
}

fn invalid(name: &HeaderName, detail: &str) -> Invalid {
    Invalid::new(ProblemCode::InvalidRequest, "", format!("header {name}: {detail}"))
}

/// Adds the labels of the headers to `request`, where it has none of its own.
///
/// # Errors
/// A header is not a label.
pub(crate) fn apply(labels: &HeaderLabels, request: &mut IncomingRequest) -> Result<(), Invalid> {
    let Labels { run, step, split } = labels.as_ref().map_err(Clone::clone)?;
    let settings = &mut request.settings;
    settings.run = settings.run.take().or_else(|| run.clone());
    settings.step = settings.step.or(*step);
    settings.split = settings.split.take().or_else(|| split.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = values.iter().cloned();
        pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn labels_of_the_body_win_over_those_of_the_headers() {
        let labels = header_labels(&headers(&[(RUN, "a"), (STEP, " 7 "), (SPLIT, "")]));
        assert_eq!(labels.as_ref().unwrap().split, None);
        let mut request = IncomingRequest::default();
        request.settings.run = Some("b".into());
        apply(&labels, &mut request).unwrap();
        assert_eq!((request.settings.run.as_deref(), request.settings.step), (Some("b"), Some(7)));
    }

    #[test]
    fn header_that_is_no_label_is_an_error_that_names_it() {
        for bad in [&[(STEP, "last")][..], &[(STEP, "-1")], &[(RUN, "a"), (RUN, "b")]] {
            let labels =
                header_labels(&bad.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
                    map.append(name, HeaderValue::from_static(value));
                    map
                }));
            let invalid = apply(&labels, &mut IncomingRequest::default()).unwrap_err();
            assert!(invalid.detail.starts_with("header x-guerdon-"), "{invalid}");
        }
    }
}
