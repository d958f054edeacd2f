//! Features that an address refuses for one question.

use std::sync::{Arc, Mutex};

use guerdon_judge::{EndpointConfig, ReplicaConfig};
use guerdon_types::AbstainWhy;
use serde_json::{Value, json};

use crate::house::{abstained, part};
use crate::paused::{Act, Judge, OTHER, ScriptedTransport, URL, answer, config};

/// The form and the effort of each request about a poisoned turn.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

fn refusal() -> Act {
    let body = json!({"error": {"message": "json_schema is not supported here"}});
    Act::Reply(400, Vec::new(), body.to_string())
}

fn cut_off() -> Act {
    let body = json!({
        "choices": [{"message": {"content": "{\"findings"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 512},
    });
    Act::Reply(200, Vec::new(), body.to_string())
}

/// Reacts to the poisoned requests by their number, and answers others.
fn reacting(acts: fn(usize) -> Act) -> (Arc<ScriptedTransport>, Seen) {
    let seen = Seen::default();
    let requests = Arc::clone(&seen);
    let stand_in = ScriptedTransport::to(move |_, text| {
        if !text.contains("poison") {
            return answer(10);
        }
        let body: Value = serde_json::from_str(text).unwrap();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let form = word(&body["response_format"]["type"]);
        let mut requests = requests.lock().unwrap();
        requests.push((form, word(&body["reasoning_effort"])));
        acts(requests.len() - 1)
    });
    (stand_in, seen)
}

fn reasoning(config: EndpointConfig) -> EndpointConfig {
    let mut config = config;
    config.extra_body.insert("reasoning_effort".to_owned(), "high".into());
    config
}

fn pair(form: &str, effort: &str) -> (String, String) {
    (form.to_owned(), effort.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_reask_keeps_the_form_that_was_refused_out_and_reasons_less() {
    let (stand_in, seen) = reacting(|number| match number {
        0 => refusal(),
        1 => cut_off(),
        _ => answer(10),
    });
    let judge = Judge::of(reasoning(config()), &[(URL, stand_in)]);
    part(&judge.judge("poison").await);
    let wanted =
        [pair("json_schema", "high"), pair("json_object", "high"), pair("json_object", "low")];
    assert_eq!(*seen.lock().unwrap(), wanted);
    assert_eq!((judge.outcomes("checked"), judge.outcomes("weakened")), (1, 1));
    // The check was answered, so other questions keep the form; this one pays for its own refusal.
    part(&judge.judge("poison again").await);
    assert_eq!(seen.lock().unwrap()[3], pair("json_schema", "high"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_address_is_none_of_another() {
    let (first, seen) = reacting(|number| match number {
        0 => refusal(),
        _ => Act::Reply(500, Vec::new(), String::new()),
    });
    let (second, also_seen) = reacting(|_| answer(10));
    let replica = ReplicaConfig { url: OTHER.to_owned(), api_key_env: None, api_key_file: None };
    let config = reasoning(EndpointConfig { replicas: vec![replica], ..config() });
    let judge = Judge::of(config, &[(URL, first), (OTHER, second)]);
    part(&judge.judge("poison").await);
    assert_eq!(*seen.lock().unwrap(), [pair("json_schema", "high"), pair("json_object", "high")]);
    assert_eq!(*also_seen.lock().unwrap(), [pair("json_schema", "high")]);
}

#[tokio::test(start_paused = true)]
async fn endless_refusals_of_features_end() {
    let (stand_in, seen) = reacting(|_| refusal());
    let judge = Judge::of(reasoning(config()), &[(URL, stand_in)]);
    abstained(&judge.judge("poison").await, AbstainWhy::EndpointError);
    assert!(seen.lock().unwrap().len() <= 8, "{:?}", seen.lock().unwrap());
}
