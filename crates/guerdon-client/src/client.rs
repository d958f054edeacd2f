//! The client: a connection pool, a limit on concurrent requests, and the calls of the HTTP API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use guerdon_types::{
    Expectation, Info, Invalid, ProblemCode, ProfileName, Rollout, ScoreRequest, ScoreResponse,
};
use reqwest::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use crate::call::Call;
use crate::chunk::{RolloutIndices, chunks, part, repoint};
use crate::retry::{AttemptError, Deadline, RetryPolicy, run};
use crate::servers::{Failover, Probe, RoutingKey, Servers};
use crate::{Error, ScoredBatch};

pub(crate) const SCORE: [&str; 2] = ["v1", "score"];

/// A client of a reward server. Clones are cheap and share connections and limits.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) servers: Servers,
    pub(crate) probe: Probe,
    pub(crate) profile: Option<ProfileName>,
    pub(crate) expect: Option<Expectation>,
    pub(crate) timeout: Duration,
    pub(crate) chunk: usize,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) policy: RetryPolicy,
}

impl Client {
    /// Scores a batch of any size.
    ///
    /// A large batch is split into several HTTP requests, see [`ClientBuilder::chunk`]. Some of
    /// them are concurrent. The results are joined in the order of the request. Splitting changes
    /// no number: with advantages, groups stay whole, and a batch whose statistics span all
    /// rollouts is not split. An empty batch is sent as one request, because its reply has the
    /// versions.
    ///
    /// [`ClientBuilder::chunk`]: crate::ClientBuilder::chunk
    ///
    /// # Errors
    /// [`Error::Invalid`] before anything is sent; otherwise the error of the first chunk that
    /// fails after its retries. Then the whole call fails. The server's cache keeps the judge's
    /// answers for the other chunks, so scoring again is cheap. A rollout that cannot be scored
    /// does not fail the call; its result has `error`.
    pub async fn score(&self, request: &ScoreRequest) -> Result<ScoredBatch, Error> {
        request.check()?;
        let deadline = Deadline::new(self.timeout);
        let chunks = self.chunks(request);
        let replies =
            try_join_all(chunks.iter().map(|chunk| self.score_chunk(request, chunk, &deadline)))
                .await?;
        let mut scored = ScoredBatch::join(request, &chunks, replies);
        if chunks.len() > 1 {
            // The server refuses ids that are shared within a chunk.
            scored.refuse_shared_ids(request);
        }
        Ok(scored)
    }

    /// The server's profiles, versions and limits.
    ///
    /// # Errors
    /// Any error except [`Error::Invalid`] and [`Error::Cut`].
    pub async fn info(&self) -> Result<Info, Error> {
        let deadline = Deadline::new(self.timeout);
        let call = self.get(&["v1", "info"]);
        let http = &self.http;
        let order = self.servers.all();
        self.run(&order, &call, &deadline, |call| async move { call.reply(http).await }).await
    }

    /// Posts the JSON text `body` to another route of the server, such as `get_reward` of a
    /// trainer's protocol, and returns the JSON text of the reply. `path` has no leading slash.
    /// Retries are those of [`Client::score`]; the profile of the client is not added.
    ///
    /// # Errors
    /// Any error except [`Error::Cut`].
    pub async fn post_json(
        &self,
        path: &str,
        query: &[(String, String)],
        body: String,
    ) -> Result<String, Error> {
        let deadline = Deadline::new(self.timeout);
        let path: Vec<&str> = path.split('/').collect();
        let order = self.servers.order(&RoutingKey::of_bytes(body.as_bytes()));
        let call = self.post(&path, body.into()).query(query);
        let _slot = self.slot(&call, &deadline).await?;
        let http = &self.http;
        self.run(&order, &call, &deadline, |call| async move { call.json(http).await }).await
    }

    /// True if the server is ready to score; `false` while it starts or stops. Sends one request,
    /// without retries. With several URLs, asks all: true if one server is ready.
    ///
    /// # Errors
    /// [`Error::Transport`] if no server listens at the URL; [`Error::Status`] or
    /// [`Error::Problem`] for a reply that is neither "ready" nor "not ready". With several URLs,
    /// the first error if no server answered.
    pub async fn ready(&self) -> Result<bool, Error> {
        let deadline = Deadline::new(self.timeout);
        let all = self.servers.all();
        let mut first = None;
        let mut has_answer = false;
        for answer in join_all(all.iter().map(|place| self.is_ready(*place, &deadline))).await {
            match answer {
                Ok(true) => return Ok(true),
                Ok(false) => has_answer = true,
                Err(error) => first = first.or(Some(error)),
            }
        }
        match first {
            Some(error) if !has_answer => Err(error),
            _ => Ok(false),
        }
    }

    async fn is_ready(&self, server: usize, deadline: &Deadline) -> Result<bool, Error> {
        let call = self.get(&["readyz"]);
        let call = self.servers.base(server).map_or(call.clone(), |base| call.at(server, base));
        let reply = timeout_at(deadline.at, call.head(&self.http)).await;
        let response = reply
            .map_err(|_| deadline.passed(&call.shown, None))?
            .map_err(|failure| failure.error)?;
        match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(call.refusal(response).await.error),
        }
    }

    /// A GET of `path`, to the first server of the list until it is sent to another one.
    fn get(&self, path: &[&str]) -> Call {
        Call::get(self.servers.first(), path)
    }

    /// A POST to `path`, to the first server of the list until it is sent to another one.
    pub(crate) fn post(&self, path: &[&str], body: Bytes) -> Call {
        Call::post(self.servers.first(), path, body)
    }

    /// The HTTP requests of a batch. With several servers, the rollouts of each have requests of
    /// their own.
    fn chunks(&self, request: &ScoreRequest) -> Vec<RolloutIndices> {
        let home = |rollout: &Rollout| match self.servers.is_single() {
            true => 0,
            false => self.servers.home(&RoutingKey::of_rollout(rollout)),
        };
        chunks(request, self.chunk, home)
    }

    /// The order of servers for the rollouts of one HTTP request.
    pub(crate) fn order(&self, request: &ScoreRequest, chunk: &[usize]) -> Vec<usize> {
        match self.servers.is_single() {
            true => vec![0],
            false => self.servers.order(&RoutingKey::of_chunk(request, chunk)),
        }
    }

    /// Runs `attempt` with the retries of this client, on the servers of `order`.
    pub(crate) async fn run<T, F, Fut>(
        &self,
        order: &[usize],
        call: &Call,
        deadline: &Deadline,
        mut attempt: F,
    ) -> Result<T, Error>
    where
        F: FnMut(Call) -> Fut,
        Fut: Future<Output = Result<T, AttemptError>>,
    {
        if self.servers.is_single() {
            return run(&self.policy, deadline, &call.shown, || attempt(call.clone())).await;
        }
        let failover = Failover {
            servers: &self.servers,
            http: &self.http,
            policy: &self.policy,
            probe: self.probe,
        };
        failover.run(order, call, deadline, attempt).await
    }

    async fn score_chunk(
        &self,
        request: &ScoreRequest,
        chunk: &[usize],
        deadline: &Deadline,
    ) -> Result<ScoreResponse, Error> {
        let mut call = self.post(&SCORE, Bytes::new());
        let _slot = self.slot(&call, deadline).await?;
        // Serialised after the permit is acquired, so that waiting requests use no memory for
        // bodies.
        call = self.post(&SCORE, self.body(request, chunk, None)?);
        let (http, order) = (&self.http, self.order(request, chunk));
        let reply = self.run(&order, &call, deadline, |call| async move {
            let reply: ScoreResponse = call.reply(http).await?;
            Ok((reply, call))
        });
        let (reply, call) = reply.await.map_err(|error| repointed(error, chunk))?;
        check_reply(request, chunk, &reply).map_err(|detail| call.decode(detail))?;
        Ok(reply)
    }

    pub(crate) async fn slot(
        &self,
        call: &Call,
        deadline: &Deadline,
    ) -> Result<Option<SemaphorePermit<'_>>, Error> {
        let slot = timeout_at(deadline.at, self.slots.acquire()).await;
        // The semaphore is never closed, so `acquire` always returns a permit.
        slot.map(Result::ok).map_err(|_| deadline.passed(&call.shown, None))
    }

    /// The body with the rollouts of `chunk`. `expect` replaces what the request and the client
    /// expect.
    pub(crate) fn body(
        &self,
        request: &ScoreRequest,
        chunk: &[usize],
        expect: Option<Expectation>,
    ) -> Result<Bytes, Error> {
        let mut part = part(request, chunk);
        part.profile = part.profile.or_else(|| self.profile.clone());
        part.expect = expect.or(part.expect).or_else(|| self.expect.clone());
        let body = serde_json::to_vec(&part).map_err(|error| {
            Invalid::new(
                ProblemCode::InvalidRequest,
                "",
                format!("the request cannot be written as JSON: {error}"),
            )
        })?;
        Ok(body.into())
    }
}

/// Hides the URL's user, password and query, which may be secrets.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.servers.shown()).finish_non_exhaustive()
    }
}

/// Checks the number and the ids of the results. A missing or misplaced result would give rollouts
/// each other's rewards.
fn check_reply(
    request: &ScoreRequest,
    chunk: &[usize],
    reply: &ScoreResponse,
) -> Result<(), String> {
    if reply.results.len() != chunk.len() {
        return Err(format!(
            "the reply has {} results for {} rollouts",
            reply.results.len(),
            chunk.len()
        ));
    }
    for (place, result) in chunk.iter().zip(&reply.results) {
        let sent = request.rollouts.get(*place).and_then(|rollout| rollout.id.as_ref());
        if sent.is_some_and(|id| *id != result.id) {
            return Err(format!("the result of rollout {place} has the id `{}`", result.id));
        }
    }
    Ok(())
}

/// The error with its pointer into the caller's request instead of the chunk.
pub(crate) fn repointed(mut error: Error, chunk: &[usize]) -> Error {
    match &mut error {
        Error::Problem { problem, .. } => repoint(problem, chunk),
        Error::Deadline { last: Some(last), .. } => {
            if let Error::Problem { problem, .. } = last.as_mut() {
                repoint(problem, chunk);
            }
        }
        _ => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use guerdon_types::{AdvantagesRequest, GroupId, Problem};

    use super::*;
    use crate::ClientBuilder;
    use guerdon_testing::{ServerReply, StandInServer, numbered_batch, score_response};

    /// A client with a short backoff.
    fn client(server: &StandInServer) -> ClientBuilder {
        Client::builder(server.url()).backoff(Duration::from_millis(1), Duration::from_millis(2))
    }

    fn numbers(upto: u16) -> Vec<Option<f64>> {
        (0..upto).map(|n| Some(f64::from(n))).collect()
    }

    #[tokio::test]
    async fn results_keep_order_and_ids_across_chunks() {
        let server = StandInServer::start([]).await;
        let mut request = numbered_batch(&[""; 10]);
        request.rollouts[4].id = Some("mine".into());
        let scored = client(&server).chunk(3).build().unwrap().score(&request).await.unwrap();
        assert_eq!(scored.rewards(), numbers(10));
        let ids: Vec<&str> = scored.results.iter().map(|result| result.id.as_str()).collect();
        assert_eq!(ids, ["0", "1", "2", "3", "mine", "5", "6", "7", "8", "9"]);
        assert_eq!(server.received().len(), 4);
        assert_eq!((scored.usage.judge_calls, scored.request_ids.len()), (4, 4));
    }

    #[tokio::test]
    async fn groups_are_not_split_and_interleaved_rollouts_keep_their_places() {
        let server = StandInServer::start([]).await;
        let mut request = numbered_batch(&["a", "b", "a", "b", "a", "c"]);
        request.advantages = Some(AdvantagesRequest::new("grpo"));
        let scored = client(&server).chunk(2).build().unwrap().score(&request).await.unwrap();
        assert_eq!(scored.rewards(), numbers(6));
        assert_eq!(scored.advantages(), numbers(6));
        let group = |rollout: &Rollout| rollout.group.as_ref().map(GroupId::to_string).unwrap();
        let mut sent: Vec<String> = server
            .score_requests()
            .iter()
            .map(|part| part.rollouts.iter().map(group).collect())
            .collect();
        sent.sort();
        assert_eq!(sent, ["aaa", "bb", "c"]);
    }

    #[tokio::test]
    async fn concurrency_is_exactly_the_configured_limit() {
        let server = StandInServer::start_with_barrier([], 2).await;
        let client = client(&server).chunk(1).concurrency(2).build().unwrap();
        let (a, b) = (numbered_batch(&[""; 4]), numbered_batch(&[""; 2]));
        let (a, b) = tokio::join!(client.score(&a), client.score(&b));
        assert_eq!((a.unwrap().results.len(), b.unwrap().results.len()), (4, 2));
        assert_eq!(server.most_in_flight(), 2);
    }

    #[tokio::test]
    async fn status_429_and_502_are_retried() {
        let server = StandInServer::start([
            ServerReply::rate_limited("0"),
            ServerReply::body(502, "bad gateway"),
        ])
        .await;
        let scored =
            client(&server).build().unwrap().score(&numbered_batch(&[""; 2])).await.unwrap();
        assert_eq!(scored.rewards(), numbers(2));
        let received = server.received();
        assert_eq!(received.len(), 3);
        assert!(
            received.iter().all(|one| one.body == received[0].body),
            "a retry sends the same bytes"
        );
    }

    #[tokio::test]
    async fn retry_after_beyond_the_deadline_fails_at_once() {
        let server = StandInServer::start([ServerReply::rate_limited("86400")]).await;
        let error =
            client(&server).build().unwrap().score(&numbered_batch(&[""])).await.unwrap_err();
        assert_eq!(error.problem().unwrap().code, ProblemCode::RateLimited);
        assert_eq!(server.received().len(), 1);
    }

    #[tokio::test]
    async fn status_422_is_not_retried_and_points_into_the_caller_s_request() {
        let problem = Problem::new(ProblemCode::InvalidRequest, "not a number")
            .pointer("/rollouts/1/context/price");
        let server = StandInServer::start([
            ServerReply::Score { generation: 1, rm: "sha256:a" },
            ServerReply::problem(&problem),
        ])
        .await;
        let client = client(&server).chunk(2).concurrency(1).build().unwrap();
        let error = client.score(&numbered_batch(&[""; 4])).await.unwrap_err();
        assert_eq!(error.problem().unwrap().pointer.as_deref(), Some("/rollouts/3/context/price"));
        assert!(
            error
                .to_string()
                .contains("answered 422: not a number (at `/rollouts/3/context/price`)"),
            "{error}"
        );
        assert_eq!(server.received().len(), 2);
    }

    #[tokio::test]
    async fn error_of_a_rollout_points_into_the_caller_s_request() {
        let request = numbered_batch(&[""; 4]);
        let mut reply = score_response(&numbered_batch(&[""; 2]), 1, "sha256:a");
        let problem =
            Problem::new(ProblemCode::TooLarge, "too long").pointer("/rollouts/1/messages");
        (reply.results[1].reward, reply.results[1].error) = (None, Some(problem));
        let second = ServerReply::body(200, serde_json::to_string(&reply).unwrap());
        let first = ServerReply::Score { generation: 1, rm: "sha256:a" };
        let server = StandInServer::start([first, second]).await;
        let client = client(&server).chunk(2).concurrency(1).build().unwrap();
        let error = client.score(&request).await.unwrap().results[3].error.clone().unwrap();
        assert_eq!(error.pointer.as_deref(), Some("/rollouts/3/messages"));
    }

    #[tokio::test]
    async fn request_with_a_wrong_setting_is_not_sent() {
        let server = StandInServer::start([]).await;
        let request = ScoreRequest { deadline_ms: Some(0), ..numbered_batch(&[""; 3]) };
        let error = client(&server).chunk(1).build().unwrap().score(&request).await.unwrap_err();
        assert!(error.to_string().contains("/deadline_ms"), "{error}");
        assert_eq!(server.received().len(), 0);
    }

    #[tokio::test]
    async fn ids_shared_by_two_chunks_are_errors_of_those_rollouts() {
        let server = StandInServer::start([]).await;
        let mut request = numbered_batch(&[""; 3]);
        for (rollout, id) in request.rollouts.iter_mut().zip(["a", "b", "a"]) {
            rollout.id = Some(id.into());
        }
        let scored = client(&server).chunk(1).build().unwrap().score(&request).await.unwrap();
        let error = |index: usize| scored.results[index].error.clone();
        for (index, other) in [(0, 2), (2, 0)] {
            assert_eq!(scored.results[index].reward, None);
            assert_eq!(error(index).unwrap().pointer.unwrap(), format!("/rollouts/{index}/id"));
            assert!(error(index).unwrap().detail.ends_with(&format!("rollout {other}")));
        }
        assert!(error(1).is_none() && scored.results[1].reward.is_some());
    }

    #[tokio::test]
    async fn incompatible_server_is_reported_with_both_versions() {
        let other = || ServerReply::body(200, "{}").header("guerdon-version", "9.0.0");
        let server = StandInServer::start([other(), other()]).await;
        let client = client(&server).build().unwrap();
        for error in [
            client.score(&numbered_batch(&[""])).await.unwrap_err(),
            client.info().await.unwrap_err(),
        ] {
            let words = error.to_string();
            assert!(matches!(error, Error::Version { .. }), "{words}");
            assert!(words.contains("guerdon 9.0.0") && words.contains("client 0."), "{words}");
        }
        assert_eq!(server.received().len(), 2, "a retry would not help");
    }

    #[tokio::test]
    async fn unreachable_server_is_reported_with_its_url() {
        let url = StandInServer::start([]).await.url().to_owned();
        let client = Client::builder(&url)
            .retries(1)
            .backoff(Duration::ZERO, Duration::ZERO)
            .build()
            .unwrap();
        let error = client.score(&numbered_batch(&[""])).await.unwrap_err();
        assert!(matches!(error, Error::Transport { tries: 2, .. }), "{error:?}");
        assert!(
            error.to_string().contains(&url) && error.to_string().contains("could not be reached"),
            "{error}"
        );
        assert!(matches!(client.ready().await.unwrap_err(), Error::Transport { .. }));
    }

    #[tokio::test]
    async fn rollout_without_a_reward_does_not_fail_the_batch() {
        let server = StandInServer::start([]).await;
        let mut request = numbered_batch(&[""; 3]);
        request.rollouts[1].messages[0].content = "no number".into();
        let scored = client(&server).build().unwrap().score(&request).await.unwrap();
        assert_eq!(scored.rewards(), [Some(0.0), None, Some(2.0)]);
        assert_eq!(scored.results[1].error.as_ref().unwrap().code, ProblemCode::Unscored);
    }

    #[tokio::test]
    async fn empty_batch_is_one_request_and_has_versions() {
        let server = StandInServer::start([]).await;
        let scored = client(&server).build().unwrap().score(&numbered_batch(&[])).await.unwrap();
        assert!(scored.results.is_empty());
        assert_eq!(scored.one_version().unwrap().rm.as_deref(), Some("sha256:a"));
        assert_eq!(server.received().len(), 1);
    }

    #[tokio::test]
    async fn reload_between_chunks_gives_two_versions() {
        let script = vec![
            ServerReply::Score { generation: 1, rm: "sha256:a" },
            ServerReply::Score { generation: 2, rm: "sha256:a" },
            ServerReply::Score { generation: 3, rm: "sha256:b" },
        ];
        let server = StandInServer::start(script).await;
        let client = client(&server).chunk(1).concurrency(1).build().unwrap();
        let scored = client.score(&numbered_batch(&[""; 3])).await.unwrap();
        assert_eq!(scored.version_of, [0, 0, 1]);
        assert_eq!(scored.one_version(), None);
        assert_eq!(scored.versions_of(2).unwrap().rm.as_deref(), Some("sha256:b"));
    }

    #[tokio::test]
    async fn reply_of_another_length_or_order_is_an_error() {
        let short = r#"{"request_id": "q", "results": [], "versions": {"profile": "p", "fusion": {}, "generation": 1},
            "usage": {"judge_calls":0,"judge_cache_hits":0,"prompt_tokens":0,"completion_tokens":0,"cost":0}}"#;
        let swapped = short.replace("[]", r#"[{"id": "y", "reward": 1, "turns": []}]"#);
        let script = [short.into(), swapped, "<html>hi</html>".into()]
            .map(|body| ServerReply::body(200, body));
        let server = StandInServer::start(script).await;
        let client = client(&server).build().unwrap();
        let mut request = numbered_batch(&[""]);
        request.rollouts[0].id = Some("x".into());
        for expected in ["0 results for 1 rollouts", "rollout 0 has the id `y`", "<html>"] {
            let error = client.score(&request).await.unwrap_err();
            assert!(
                matches!(error, Error::Decode { .. }) && error.to_string().contains(expected),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn reply_of_another_kind_of_server_is_an_error() {
        let moved = ServerReply::body(308, "").header("location", "https://elsewhere/v1/score");
        let server = StandInServer::start([ServerReply::body(404, "no such page"), moved]).await;
        let client = client(&server).build().unwrap();
        for expected in
            ["answered 404 without a problem body", "moved to https://elsewhere/v1/score"]
        {
            let error = client.score(&numbered_batch(&[""])).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn token_and_profile_are_sent_and_the_request_s_profile_wins() {
        let server = StandInServer::start([]).await;
        let client = client(&server).token("s3cret").profile("hotel").build().unwrap();
        client.score(&numbered_batch(&[])).await.unwrap();
        client
            .score(&ScoreRequest { profile: Some("flights".into()), ..numbered_batch(&[]) })
            .await
            .unwrap();
        let profiles: Vec<_> =
            server.score_requests().into_iter().map(|request| request.profile.unwrap()).collect();
        assert_eq!(profiles, ["hotel".into(), "flights".into()]);
        let received = server.received();
        assert_eq!(received[0].headers["authorization"], "Bearer s3cret");
        assert_eq!(received[0].headers["accept-encoding"], "gzip");
        assert_eq!(received[0].path, "/v1/score");
    }

    #[tokio::test]
    async fn ready_is_not_retried_and_info_is() {
        let not_ready = Problem::new(ProblemCode::NotReady, "the reward model is loading");
        let info = r#"{"name": "guerdon", "version": "0.1.0", "default_profile": "hotel", "profiles": {},
            "limits": {}, "generation": 1}"#;
        let script = vec![
            ServerReply::problem(&not_ready).header("retry-after", "9"),
            ServerReply::body(200, "ready"),
            ServerReply::rate_limited("0"),
            ServerReply::body(200, info),
        ];
        let server = StandInServer::start(script).await;
        let client = client(&server).build().unwrap();
        assert!(!client.ready().await.unwrap());
        assert!(client.ready().await.unwrap());
        assert_eq!(client.info().await.unwrap().default_profile, "hotel".into());
        let paths: Vec<String> =
            server.received().iter().map(|received| received.path.clone()).collect();
        assert_eq!(paths, ["/readyz", "/readyz", "/v1/info", "/v1/info"]);
    }
}
