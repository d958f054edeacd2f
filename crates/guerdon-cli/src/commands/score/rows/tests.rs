//! One dialogue in every form is the same rollout.

use guerdon_types::Message;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(row: &Value) -> Vec<Rollout> {
    read_with(row, RowOptions::default())
}

fn read_with(row: &Value, options: RowOptions) -> Vec<Rollout> {
    let read = options.rollouts(&row.to_string(), 1);
    read.entries
        .into_iter()
        .map(|entry| entry.rollout.unwrap_or_else(|e| panic!("{row}: {e}")))
        .collect()
}

fn said(rollout: &Rollout) -> Vec<(Role, &str)> {
    rollout.messages.iter().map(|message| (message.role, message.content.as_str())).collect()
}

proptest! {
    #[test]
    fn every_form_of_a_dialogue_is_the_same_rollout(
        system in prop::option::of("[A-Z][a-z ]{0,8}[.]"),
        asked in "[A-Z][a-z0-9 ]{0,8}[?]",
        reply in "[A-Z][a-z0-9 ]{0,8}[.]",
        other in "[A-Z][a-z0-9 ]{0,8}[!]",
    ) {
        let openai = |reply: &str| {
            let mut messages = vec![
                json!({ "role": "user", "content": asked }),
                json!({ "role": "assistant", "content": reply }),
            ];
            if let Some(system) = &system {
                messages.insert(0, json!({ "role": "system", "content": system }));
            }
            messages
        };
        let messages = openai(&reply);
        let prompt = messages[..messages.len() - 1].to_vec();
        let wanted: Vec<Message> = serde_json::from_value(Value::Array(messages.clone())).unwrap();
        let parts: Vec<_> = messages.iter().map(|message| {
            json!({ "role": message["role"], "content": [{ "type": "text", "text": message["content"] }] })
        }).collect();
        let turns = json!([{ "from": "human", "value": asked }, { "from": "gpt", "value": reply, "weight": 1 }]);
        let chatml: String = prompt.iter().map(|message| {
            let word = |name: &str| message[name].as_str().unwrap().to_owned();
            format!("<|im_start|>{}\n{}<|im_end|>\n", word("role"), word("content"))
        }).collect();
        let template = format!("{chatml}<|im_start|>assistant\n");
        let columns = |name: &str| messages.iter().map(|m| m[name].clone()).collect::<Vec<_>>();
        for row in [
            json!({ "messages": messages }),
            json!({ "messages": parts }),
            json!({ "messages": messages, "model": "m", "temperature": 1.0 }),
            json!({ "messages": prompt, "choices": [{ "message": messages.last() }] }),
            json!({ "custom_id": "a", "method": "POST", "body": { "model": "m", "messages": messages } }),
            json!({ "conversations": turns, "system": system }),
            json!({ "conversations": messages }),
            json!({ "conversations": { "role": columns("role"), "content": columns("content") } }),
            json!({ "prompt": prompt, "completion": [{ "role": "assistant", "content": reply }] }),
            json!({ "prompt": asked, "system": system, "completion": reply }),
            json!({ "prompt": template, "response": format!("{reply}<|im_end|>") }),
            json!({ "instruction": asked, "input": "", "output": reply, "system": system }),
            json!({ "data_source": "d", "prompt": prompt, "reward_model": { "ground_truth": "x" }, "responses": [reply] }),
            json!({ "input": template, "output": reply, "gts": "x", "score": 0.5, "step": 3 }),
        ] {
            let rollouts = read(&row);
            prop_assert_eq!(rollouts.len(), 1);
            prop_assert_eq!(&rollouts[0].messages, &wanted, "{}", row);
        }
        let mut hh = format!("\n\nHuman: {asked}\n\nAssistant: ");
        let chosen = format!("{hh}{reply}");
        hh.push_str(&other);
        for row in [
            json!({ "prompt": prompt, "chosen": reply, "rejected": other }),
            json!({ "prompt": asked, "chosen": messages, "rejected": openai(&other), "score_chosen": 3.0 }),
            json!({ "conversations": prompt, "chosen": { "from": "gpt", "value": reply }, "rejected": { "from": "gpt", "value": other } }),
            json!({ "chosen": chosen, "rejected": hh, "system": system }),
        ] {
            let options = RowOptions::default().rollouts(&row.to_string(), 7);
            prop_assert!(options.is_pair);
            let sides = read(&row);
            prop_assert_eq!(&sides[0].messages, &wanted, "{}", row);
            prop_assert_eq!(&sides[1].messages.last().unwrap().content, &other);
            prop_assert_eq!(sides[0].id.as_ref().unwrap().as_str(), "row-1-chosen");
            prop_assert_eq!(&sides[0].group, &sides[1].group);
        }
    }
}

#[test]
fn facts_of_a_row_are_context_and_other_columns_are_if_asked_for() {
    let row = json!({
        "data_source": "hotel", "prompt": [{ "role": "user", "content": "480?" }], "responses": ["a", "b"],
        "reward_model": { "style": "rule", "ground_truth": "{\"target_price\": 420}" },
        "extra_info": { "split": "train", "index": 3, "gap": null }, "column": 1,
    });
    let rollouts = read(&row);
    let context =
        json!({ "target_price": 420, "split": "train", "index": 3, "data_source": "hotel" });
    assert_eq!(Value::Object(rollouts[0].context.clone()), context);
    let ids: Vec<_> = rollouts.iter().map(|one| one.id.as_ref().unwrap().as_str()).collect();
    assert_eq!(ids, ["row-1-0", "row-1-1"]);
    assert_eq!(rollouts[0].group, rollouts[1].group);
    let kept = RowOptions { extra: Some(ExtraColumns::Context), ..RowOptions::default() };
    assert_eq!(read_with(&row, kept)[0].context["column"], 1);
    let native = json!({ "id": 17.0, "messages": [{ "role": "assistant", "content": "a", "weight": 0 }], "topic": "x" });
    assert_eq!(read_with(&native, kept)[0].context["topic"], "x");
    assert_eq!(read_with(&native, kept)[0].id.as_ref().unwrap().as_str(), "17");
    let scored = json!({ "messages": [{ "role": "assistant", "content": "a" }], "score": "all", "topic": "x" });
    assert_eq!(read_with(&scored, kept)[0].score, guerdon_types::ScoreTurns::ALL);
    let ignored = RowOptions { extra: Some(ExtraColumns::Ignore), ..RowOptions::default() };
    assert!(read_with(&native, ignored)[0].context.is_empty());
}

#[test]
fn calls_and_results_of_tools_are_read_in_every_form() {
    let call = json!({ "name": "rooms", "arguments": { "day": 6 } });
    let row = json!({ "conversations": [
        { "from": "human", "value": "Rooms?" },
        { "from": "function_call", "value": call.to_string() },
        { "from": "observation", "value": "5" },
        { "from": "gpt", "value": "Five." },
    ], "tools": "[{\"name\": \"rooms\"}]" });
    let rollout = &read(&row)[0];
    let wanted = [
        (Role::User, "Rooms?"),
        (Role::Assistant, ""),
        (Role::Tool, "5"),
        (Role::Assistant, "Five."),
    ];
    assert_eq!(said(rollout), wanted);
    assert_eq!(rollout.messages[1].tool_calls[0].arguments, "{\"day\":6}");
    assert_eq!(rollout.tools, [json!({ "name": "rooms" })]);
}

#[test]
fn thoughts_are_dropped_if_asked_for() {
    let row = json!({ "prompt": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n",
        "completion": "They greet.\n</think>\n\nHello." });
    let kept = "<think>\nThey greet.\n</think>\n\nHello.";
    assert_eq!(said(&read(&row)[0])[1], (Role::Assistant, kept));
    let drop = RowOptions { thoughts: Thoughts::Drop, ..RowOptions::default() };
    assert_eq!(said(&read_with(&row, drop)[0])[1], (Role::Assistant, "Hello."));
}

#[test]
fn row_that_does_not_fit_says_what_it_lacks() {
    let error = |row: Value, form: Option<RowForm>| {
        let options = RowOptions { form, ..RowOptions::default() };
        let mut entries = options.rollouts(&row.to_string(), 1).entries;
        assert_eq!(entries.len(), 1);
        let invalid = entries.remove(0).rollout.unwrap_err();
        format!("{} {}", invalid.detail, invalid.hint.unwrap_or_default())
    };
    let messages = json!([{ "role": "assistant", "content": "a" }]);
    for (row, form, words) in [
        (json!({ "messages": messages }), Some(RowForm::Sharegpt), "no `conversations`"),
        (json!({ "prompt": "a", "data_source": "b" }), None, "no reply to score"),
        (json!({ "custom_id": "a", "response": { "error": {} } }), None, "the request failed"),
        (json!({ "chosen": "a" }), Some(RowForm::Pairs), "no `rejected`"),
        (json!({ "messages": messages, "topic": "b" }), None, "--extra-columns context"),
        (json!({ "text": "a", "label": 1 }), None, "this one has `label`, `text`"),
        (json!({ "prompt": "a", "completions": [] }), None, "list of replies is empty"),
    ] {
        let error = error(row, form);
        assert!(error.contains(words), "{error}");
    }
}
