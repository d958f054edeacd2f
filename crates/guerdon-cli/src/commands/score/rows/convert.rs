//! A row of another form as rollouts.

use serde_json::{Map, Value};

use super::form::{PROMPTS, REPLIES, RowForm};
use super::messages::{Prompt, messages, prompt, replies};
use super::row::{Row, Sample};
use super::transcript;

/// The rollouts of a row, in the form of the API. The error says what the row lacks.
pub(super) fn rollouts(form: RowForm, mut row: Row) -> Result<Vec<Map<String, Value>>, String> {
    let samples = match form {
        RowForm::Guerdon => {
            row.pass_fields();
            vec![openai(&mut row)?]
        }
        RowForm::Openai => vec![openai(&mut row)?],
        RowForm::OpenaiBatch => vec![batch(&mut row)?],
        RowForm::Sharegpt => vec![single(messages(row.need(&["conversations", "conversation"])?)?)],
        RowForm::Trl => completions(&mut row)?,
        RowForm::Pairs => pair(&mut row)?,
        RowForm::Verl => verl(&mut row)?,
    };
    Ok(row.rollouts(samples))
}

fn single(messages: Vec<Value>) -> Sample {
    Sample { messages, suffix: None }
}

fn openai(row: &mut Row) -> Result<Sample, String> {
    let mut dialogue = messages(row.need(&["messages"])?)?;
    if let Some(mut choices) = row.take("choices") {
        dialogue.extend(reply_of(&mut choices)?);
    }
    Ok(single(dialogue))
}

/// The message of the first choice.
fn reply_of(choices: &mut Value) -> Result<Vec<Value>, String> {
    let reply = choices.get_mut(0).and_then(|choice| choice.get_mut("message")).map(Value::take);
    messages(reply.ok_or("`choices` has no `message`")?)
}

fn batch(row: &mut Row) -> Result<Sample, String> {
    let mut dialogue = Vec::new();
    let body = row.take("body");
    let response = row.take("response");
    if let Some(Value::Object(mut body)) = body {
        dialogue = messages(body.remove("messages").ok_or("`body` has no `messages`")?)?;
        if let Some(tools) = body.remove("tools") {
            row.set_tools(tools);
        }
    }
    if let Some(mut response) = response {
        let choices = response.pointer_mut("/body/choices");
        dialogue
            .extend(reply_of(choices.ok_or("`response` has no `choices`: the request failed")?)?);
    }
    if dialogue.is_empty() {
        return Err("it has neither `body` nor `response`".to_owned());
    }
    Ok(single(dialogue))
}

fn completions(row: &mut Row) -> Result<Vec<Sample>, String> {
    let mut asked = row.need(PROMPTS)?;
    // Alpaca's form: an instruction and its input.
    if let Value::String(instruction) = &mut asked
        && let Some(Value::String(input)) = row.take("input")
        && !input.trim().is_empty()
    {
        instruction.push_str("\n\n");
        instruction.push_str(&input);
    }
    let asked = prompt(asked)?;
    let replies = row.need(REPLIES)?;
    samples(&asked, replies)
}

/// The samples of a prompt with one reply or several.
fn samples(asked: &Prompt, column: Value) -> Result<Vec<Sample>, String> {
    let replies = replies(column, &asked.begun)?;
    if replies.is_empty() {
        return Err("its list of replies is empty".to_owned());
    }
    let several = replies.len() > 1;
    let sample = |(place, reply): (usize, Vec<Value>)| Sample {
        messages: [asked.messages.clone(), reply].concat(),
        suffix: several.then(|| place.to_string()),
    };
    Ok(replies.into_iter().enumerate().map(sample).collect())
}

fn pair(row: &mut Row) -> Result<Vec<Sample>, String> {
    let asked = match row.take_any(PROMPTS) {
        Some(column) => prompt(column)?,
        None => match row.take_any(&["messages", "conversations", "conversation"]) {
            Some(column) => Prompt { messages: messages(column)?, begun: String::new() },
            None => Prompt::default(),
        },
    };
    let side = |column: Value, suffix: &str| -> Result<Sample, String> {
        let dialogue = match column.as_str().and_then(transcript::messages) {
            Some(dialogue) => dialogue,
            None => replies(column, &asked.begun)?.into_iter().next().unwrap_or_default(),
        };
        // A side may be the whole dialogue, with the prompt.
        let is_whole = dialogue.first().is_some_and(|first| !is_reply(first));
        let messages =
            if is_whole { dialogue } else { [asked.messages.clone(), dialogue].concat() };
        Ok(Sample { messages, suffix: Some(suffix.to_owned()) })
    };
    Ok(vec![side(row.need(&["chosen"])?, "chosen")?, side(row.need(&["rejected"])?, "rejected")?])
}

fn is_reply(message: &Value) -> bool {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    guerdon_types::Role::from_name(role) == Some(guerdon_types::Role::Assistant)
}

fn verl(row: &mut Row) -> Result<Vec<Sample>, String> {
    if let Some(Value::Object(mut model)) = row.take("reward_model")
        && let Some(truth) = model.remove("ground_truth").filter(|truth| !truth.is_null())
    {
        row.add_label("ground_truth", truth);
    }
    if let Some(truth) = row.take("gts") {
        row.add_label("ground_truth", truth);
    }
    for name in ["data_source", "ability"] {
        if let Some(fact) = row.take(name) {
            row.facts.insert(name.to_owned(), fact);
        }
    }
    let mut before = None;
    if let Some(Value::Object(mut extra)) = row.take("extra_info") {
        before = extra.remove("messages").filter(Value::is_array);
        row.add_label("extra_info", Value::Object(extra));
    }
    let asked = row.take_any(&["prompt", "raw_prompt", "input"]).or(before);
    let asked = prompt(asked.ok_or("it has no `prompt` or `input`")?)?;
    let answered = ["responses", "response", "output", "solution_str", "completion"];
    let column = row
        .need(&answered)
        .map_err(|missing| format!("{missing}; a row of prompts alone has no reply to score"))?;
    samples(&asked, column)
}
