//! The HTTP side of a node: health, metrics and orders. The binary mounts it; what it shows and does goes through [`Control`].

mod orders;

pub use orders::{Doorman, Draining};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use gateway_core::attempt::record::AttemptId;
use gateway_core::event::Event;
use gateway_core::time::Timestamp;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What the HTTP side may know of the node and ask of it. The gateway implements it, so that this crate needs no gateway.
pub trait Control: Send + Sync {
    /// Whether this node is worse than its peers, and in what.
    fn readiness(&self) -> Readiness;

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// What kept them from being written.
    fn metrics(&self) -> Result<String, String>;

    /// What this node remembers of one attempt, oldest first.
    fn events(&self, id: AttemptId) -> Vec<(Timestamp, Event)>;

    /// Reads the configuration again and swaps it whole, or changes nothing.
    ///
    /// # Errors
    ///
    /// Every fault with its key path and remedy.
    fn reload(&self) -> Result<(), String>;

    /// Whether whoever shows `token` may give orders.
    fn doorman(&self, token: Option<&[u8]>) -> Doorman;

    /// Writes down that the bearer of the token gave a command, from this address. `false`: it cannot be written, and the command must
    /// not be done.
    fn audit(&self, from: Option<SocketAddr>, command: &str) -> bool;

    /// New sign-ins are left to other nodes from now on; running ones finish within `deadline`, or what is configured; then the
    /// process ends.
    fn drain(&self, deadline: Option<Duration>) -> Draining;
}

/// Whether to send this node new sign-ins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The conclusion.
    pub ready: bool,
    /// What it was drawn from.
    pub checks: Vec<Check>,
}

/// One thing that readiness looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: `listeners`, `permits`, `store`, `node_id`, `clock`, `configuration`, `back_ends`, `means`, `sign_in`, `peers`, `audit`, `draining`.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What is wrong and what to do, or a figure.
    pub detail: String,
}

impl Readiness {
    /// Ready if every check is.
    pub fn of(checks: Vec<Check>) -> Self {
        Self { ready: checks.iter().all(|check| check.ok), checks }
    }

    /// The names of the checks that fail, separated by commas.
    pub fn failing(&self) -> String {
        self.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect::<Vec<_>>().join(", ")
    }
}

/// Mounts the routes.
pub fn routes(control: Arc<dyn Control>) -> impl FnOnce(&mut web::ServiceConfig) + Clone {
    let refusals = web::Data::new(orders::Refusals::default());
    move |config| {
        config
            .app_data(web::Data::from(control))
            .app_data(refusals)
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
            .configure(orders::routes);
    }
}

/// Alive means that this thread still answers: restarting a node helps against nothing else.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body("ok\n")
}

async fn readyz(control: web::Data<dyn Control>) -> HttpResponse {
    let readiness = control.readiness();
    let mut response = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.insert_header((CACHE_CONTROL, "no-store")).json(readiness)
}

async fn metrics(control: web::Data<dyn Control>) -> HttpResponse {
    match control.metrics() {
        Ok(text) => {
            HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text)
        }
        Err(error) => HttpResponse::InternalServerError().body(format!("the metrics cannot be written: {error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::{App, test};

    struct Node {
        store_ok: bool,
    }

    impl Control for Node {
        fn readiness(&self) -> Readiness {
            let detail = "the disk is full".to_owned();
            Readiness::of(vec![
                Check { name: "listeners", ok: true, detail: String::new() },
                Check { name: "store", ok: self.store_ok, detail },
            ])
        }

        fn metrics(&self) -> Result<String, String> {
            if self.store_ok { Ok("orthrus_x 1\n".to_owned()) } else { Err("no".to_owned()) }
        }

        fn events(&self, _id: AttemptId) -> Vec<(Timestamp, Event)> {
            vec![]
        }

        fn reload(&self) -> Result<(), String> {
            Ok(())
        }

        fn doorman(&self, token: Option<&[u8]>) -> Doorman {
            Doorman::of(token, self.store_ok.then_some(b"the token".as_slice()))
        }

        fn audit(&self, _: Option<SocketAddr>, command: &str) -> bool {
            assert!(command.starts_with("drain"));
            true
        }

        fn drain(&self, deadline: Option<Duration>) -> Draining {
            Draining { node: "a".into(), in_progress: 3, deadline: deadline.unwrap_or(Duration::from_secs(30)) }
        }
    }

    /// Sends an order with a token and a body; status, headers of note and body.
    async fn order(method: &str, token: Option<&str>, body: &str, enabled: bool) -> (u16, String, serde_json::Value) {
        let app = test::init_service(App::new().configure(routes(Arc::new(Node { store_ok: enabled })))).await;
        let mut request = test::TestRequest::with_uri("/api/v1/drain").method(method.parse().unwrap());
        if let Some(token) = token {
            request = request.insert_header(("Authorization", token));
        }
        let response = test::call_service(&app, request.set_payload(body.to_owned()).to_request()).await;
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = test::read_body(response).await;
        (status, kind.unwrap_or_default(), serde_json::from_slice(&body).unwrap_or_default())
    }

    #[actix_rt::test]
    async fn whoever_shows_the_token_drains_the_node() {
        for (body, seconds) in [("", 30), ("{}", 30), (r#"{"deadline_seconds":7}"#, 7)] {
            let (status, _, answer) = order("POST", Some("Bearer the token"), body, true).await;
            assert_eq!((status, &answer["node"], &answer["in_progress"]), (202, &"a".into(), &3.into()), "{body}");
            assert_eq!(answer["deadline_seconds"], seconds, "{body}");
        }
        assert_eq!(order("POST", Some("bearer the token"), "", true).await.0, 202, "the scheme has no case");
    }

    #[actix_rt::test]
    async fn nobody_else_does_and_each_is_told_why() {
        let refused: [(Option<&str>, bool, u16, &str); 6] = [
            (None, true, 401, "no-token"),
            (Some("Bearer another"), true, 401, "wrong-token"),
            (Some("Bearer "), true, 401, "wrong-token"),
            (Some("Basic the token"), true, 401, "no-token"),
            (Some("Bearer the token"), false, 403, "orders-disabled"),
            (None, false, 403, "orders-disabled"),
        ];
        for (token, enabled, wanted, kind) in refused {
            let (status, content, problem) = order("POST", token, "not even JSON", enabled).await;
            assert_eq!((status, content.as_str()), (wanted, "application/problem+json"), "{token:?}");
            assert_eq!((&problem["type"], &problem["status"]), (&format!("urn:orthrus:{kind}").into(), &wanted.into()));
            assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        }
    }

    #[actix_rt::test]
    async fn an_order_that_cannot_be_read_is_none() {
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(5_000));
        for body in
            ["{", "[]", "7", r#"{"deadline":7}"#, r#"{"deadline_seconds":0}"#, r#"{"deadline_seconds":601}"#, &long]
        {
            let (status, content, _) = order("POST", Some("Bearer the token"), body, true).await;
            let wanted = if body.len() > 4_096 { 413 } else { 400 };
            assert_eq!((status, content.as_str()), (wanted, "application/problem+json"), "{body}");
        }
        assert_eq!(order("GET", Some("Bearer the token"), "", true).await.0, 405);
    }

    async fn ask(path: &str, store_ok: bool) -> (u16, String) {
        let app = test::init_service(App::new().configure(routes(Arc::new(Node { store_ok })))).await;
        let response = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
        let status = response.status().as_u16();
        (status, String::from_utf8_lossy(&test::read_body(response).await).into_owned())
    }

    #[actix_rt::test]
    async fn a_healthy_node_says_so() {
        assert_eq!(ask("/livez", true).await, (200, "ok\n".into()));
        assert_eq!(ask("/metrics", true).await, (200, "orthrus_x 1\n".into()));
        let (status, body) = ask("/readyz", true).await;
        assert_eq!(status, 200);
        assert!(body.starts_with(r#"{"ready":true,"checks":[{"name":"listeners","ok":true"#), "{body}");
    }

    #[actix_rt::test]
    async fn a_sick_node_is_alive_and_not_ready_and_says_why() {
        assert_eq!(ask("/livez", false).await.0, 200);
        let (status, body) = ask("/readyz", false).await;
        assert_eq!(status, 503);
        assert!(body.contains("the disk is full"), "{body}");
        assert_eq!(ask("/metrics", false).await.0, 500);
        assert_eq!(ask("/nothing", false).await.0, 404);
    }
}
