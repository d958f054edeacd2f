//! A browser of the pages' tests: cookies and forms as the test says.

use guerdon_tests::{Reply, Server, http_client};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;

/// A browser without its cookie jar: cookies are sent as the test says, redirects are not followed.
pub(super) struct Browser<'s> {
    server: &'s Server,
    pub(super) client: reqwest::Client,
}

impl<'s> Browser<'s> {
    pub(super) fn new(server: &'s Server) -> Self {
        // Installs the TLS provider.
        drop(http_client());
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        Self { server, client: client.build().unwrap() }
    }

    pub(super) async fn get(&self, path: &str, cookie: &str) -> Reply {
        let url = format!("{}{path}", self.server.url);
        Reply::read(self.client.get(url).header(COOKIE, cookie).send().await.unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, cookie: &str, form: String) -> Reply {
        let url = format!("{}{path}", self.server.url);
        let request = self.client.post(url).header(COOKIE, cookie).body(form);
        let form = "application/x-www-form-urlencoded";
        Reply::read(request.header("content-type", form).send().await.unwrap()).await
    }

    /// Opens the form and sends it with `token`.
    pub(super) async fn log_in(&self, token: &str, next: &str) -> Reply {
        let form = self.get("/ui/login", "").await;
        let (cookie, csrf) = (cookie(&form), csrf(&form.text));
        self.post("/ui/login", &cookie, format!("csrf={csrf}&next={next}&token={token}")).await
    }
}

/// The cookie that a reply sets, as a request sends it.
pub(super) fn cookie(reply: &Reply) -> String {
    let set = reply.headers.get(SET_COOKIE).unwrap().to_str().unwrap();
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

pub(super) fn csrf(page: &str) -> String {
    let rest = page.split("name=\"csrf\" value=\"").nth(1).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

pub(super) fn location(reply: &Reply) -> &str {
    reply.headers["location"].to_str().unwrap()
}
