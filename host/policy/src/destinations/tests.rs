//! Destinations against a real HTTP service.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base::secret::Secret;
use base::tls::client::Authorities;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::settings::{Method, Service};
use super::template::Template;
use super::*;

/// What the service was asked, and whether it answers what is slow.
#[derive(Clone, Default)]
struct Seen {
    requests: Arc<AtomicUsize>,
    uris: Arc<Mutex<Vec<String>>>,
    headers: Arc<Mutex<Vec<String>>>,
    fails: Arc<AtomicUsize>,
    /// Status of all answers, unless it is 0.
    says: Arc<AtomicUsize>,
    go: Arc<Notify>,
}

impl Seen {
    fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn answer(
    State(seen): State<Seen>,
    uri: Uri,
    headers: axum::http::HeaderMap,
    body: String,
) -> Response {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    seen.uris.lock().unwrap().push(uri.to_string());
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    seen.headers.lock().unwrap().extend(authorization);
    if seen.fails.load(Ordering::SeqCst) > 0 {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let says = u16::try_from(seen.says.load(Ordering::SeqCst)).unwrap();
    if says > 0 {
        return StatusCode::from_u16(says).unwrap().into_response();
    }
    match uri.path().trim_start_matches("/users/") {
        "slow" => {
            seen.go.notified().await;
            "late".into_response()
        }
        "hang" => std::future::pending().await,
        "large" => "x".repeat(5 << 20).into_response(),
        "away" => (
            StatusCode::FOUND,
            [(header::LOCATION, "http://127.0.0.1:1/elsewhere")],
        )
            .into_response(),
        "bytes" => vec![0xff_u8, 0xfe].into_response(),
        "swordfish" | "Bearer%20swordfish" => "you sent Bearer swordfish".into_response(),
        "nobody" => (StatusCode::NOT_FOUND, "no such user").into_response(),
        "forbidden" => StatusCode::FORBIDDEN.into_response(),
        user => format!("{user} {body}").into_response(),
    }
}

/// A service that runs as long as the test does, and how it is asked.
async fn service() -> (Seen, Service) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let app = Router::new().fallback(answer).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (seen, plain(&format!("http://{address}/users/{{user}}")))
}

/// A service at this address.
fn plain(url: &str) -> Service {
    Service {
        url: Template::parse(url).unwrap(),
        method: Method::Post,
        headers: vec![("authorization".to_owned(), Secret::new("Bearer swordfish"))],
        authorities: Authorities::Platform,
        authorities_content: None,
        timeout: Duration::from_secs(60),
        max_response: 1024,
        max_waiting: 100,
        cache: Duration::ZERO,
        cache_entries: 100,
        cache_size: 1 << 20,
        on_failure: OnUnanswered::Refuse,
        stale: Duration::ZERO,
    }
}

fn prepared(pool: &DestinationPool, service: &Service) -> Destinations {
    let settings = settings::Destination {
        service: service.clone(),
        place: base::diagnostics::Place::nowhere(),
    };
    let mut diagnostics = Diagnostics::default();
    let destinations = pool.prepare(
        &BTreeMap::from([("users".to_owned(), settings)]),
        &mut diagnostics,
    );
    assert!(diagnostics.is_empty());
    destinations
}

/// As [`prepared`], and the destinations serve.
fn serving(pool: &DestinationPool, service: &Service) -> Destinations {
    let destinations = prepared(pool, service);
    pool.serve(&destinations);
    destinations
}

fn destinations(service: &Service) -> Destinations {
    prepared(&DestinationPool::default(), service)
}

static WATCHED: LazyLock<[Request; 1]> = LazyLock::new(|| [request("ann")]);
static HANGING: LazyLock<[Request; 1]> = LazyLock::new(|| [request("hang")]);

fn request(user: &str) -> Request {
    Request {
        destination: "users".to_owned(),
        params: vec![("user".to_owned(), user.to_owned())],
        query: Vec::new(),
        body: None,
    }
}

async fn ask_as(
    destinations: &Destinations,
    client: u8,
    user: &str,
) -> Result<Answer, AnswerError> {
    let asking = Asking {
        asker: Asker::Deciding(Client::numbered(client)),
        until: None,
        requests: &[request(user)],
    };
    let mut answers = destinations.ask(asking).await.unwrap();
    answers.remove(0).answer
}

async fn ask(destinations: &Destinations, user: &str) -> Result<Answer, AnswerError> {
    ask_as(destinations, 1, user).await
}

fn body(answer: Result<Answer, AnswerError>) -> String {
    answer.unwrap().body.to_string()
}

#[tokio::test]
async fn an_answer_comes_with_its_status_and_the_operators_headers_go_along() {
    let (seen, service) = service().await;
    let destinations = destinations(&service);
    let requests = [
        Request {
            query: vec![("a".to_owned(), "b&c".to_owned())],
            body: Some("{\"x\":1}".to_owned()),
            ..request("ann")
        },
        request("nobody"),
    ];
    let asking = Asking {
        asker: Asker::Deciding(Client::numbered(1)),
        until: None,
        requests: &requests,
    };
    let answers = destinations.ask(asking).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(|it| it.answer.unwrap()).collect();
    let told = |answer: &Answer| (answer.status, answer.body.to_string(), answer.age_ms);
    assert_eq!(told(&answers[0]), (200, "ann {\"x\":1}".to_owned(), 0));
    assert_eq!(told(&answers[1]), (404, "no such user".to_owned(), 0));
    let mut uris = seen.uris.lock().unwrap().clone();
    uris.sort_unstable();
    assert_eq!(uris, ["/users/ann?a=b%26c", "/users/nobody"]);
    assert_eq!(seen.headers.lock().unwrap()[0], "Bearer swordfish");
    let shown = format!("{service:?}");
    assert!(!shown.contains("swordfish"), "{shown}");
}

#[tokio::test]
async fn no_value_leads_to_another_path_and_one_that_is_no_segment_is_not_sent() {
    let (seen, service) = service().await;
    let destinations = destinations(&service);
    for value in ["../admin?x=", "%2f", "a/b", "..%2f..%2fadmin"] {
        ask(&destinations, value).await.unwrap();
    }
    assert_eq!(
        *seen.uris.lock().unwrap(),
        [
            "/users/..%2Fadmin%3Fx%3D",
            "/users/%252f",
            "/users/a%2Fb",
            "/users/..%252f..%252fadmin",
        ]
    );
    let long = "x".repeat(5000);
    for value in ["", ".", "..", &long] {
        assert_eq!(ask(&destinations, value).await, Err(AnswerError::Refused));
    }
    assert_eq!(seen.count(), 4);
}

#[tokio::test]
async fn what_is_no_good_answer_is_an_error_and_no_redirect_is_followed() {
    let (seen, mut service) = service().await;
    service.timeout = Duration::from_millis(200);
    let destinations = destinations(&service);
    for (user, error) in [
        ("hang", AnswerError::Timeout),
        ("large", AnswerError::TooLarge),
        ("away", AnswerError::Unusable),
        ("bytes", AnswerError::Unusable),
    ] {
        assert_eq!(ask(&destinations, user).await, Err(error), "{user}");
    }
    seen.fails.store(1, Ordering::SeqCst);
    assert_eq!(
        ask(&destinations, "ann").await,
        Err(AnswerError::Unavailable)
    );
    assert_eq!(seen.count(), 5);
}

#[tokio::test]
async fn a_question_that_does_not_fit_the_destination_is_a_mistake_and_sends_nothing() {
    let (seen, mut service) = service().await;
    service.method = Method::Get;
    service.url = Template::parse(&format!("{}?tenant=a", service.url)).unwrap();
    let destinations = destinations(&service);
    let named = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (wrong, told) in [
        (
            Request {
                destination: "plans".to_owned(),
                ..request("ann")
            },
            "there is no destination \"plans\"",
        ),
        (
            Request {
                params: Vec::new(),
                ..request("ann")
            },
            "needs the parameter {user}",
        ),
        (
            Request {
                params: [named("user", "a"), named("usr", "b")].concat(),
                ..request("ann")
            },
            "has no parameter {usr}",
        ),
        (
            Request {
                body: Some("{}".to_owned()),
                ..request("ann")
            },
            "`method` is \"GET\"",
        ),
        (
            Request {
                query: named("tenant", "b"),
                ..request("ann")
            },
            "has the query parameter \"tenant\" already",
        ),
    ] {
        let asking = Asking {
            asker: Asker::Deciding(Client::numbered(1)),
            until: None,
            requests: &[request("ann"), wrong],
        };
        let misuse = destinations.ask(asking).await.unwrap_err().to_string();
        assert!(misuse.contains(told), "{misuse}");
    }
    assert_eq!(seen.count(), 0);
}

#[tokio::test]
async fn a_kept_answer_is_used_again_and_many_who_ask_the_same_make_one_request() {
    let (seen, mut service) = service().await;
    service.cache = Duration::from_secs(600);
    let destinations = destinations(&service);
    let all = join_all((0..50).map(|client| ask_as(&destinations, client, "slow")));
    let go = async {
        while seen.count() == 0 {
            tokio::task::yield_now().await;
        }
        seen.go.notify_one();
    };
    let (answers, ()) = tokio::join!(all, go);
    assert!(answers.into_iter().all(|answer| body(answer) == "late"));
    assert_eq!(seen.count(), 1);
    ask(&destinations, "slow").await.unwrap();
    assert_eq!(seen.count(), 1);
    // A refusal that is about the moment is not kept.
    for _ in 0..2 {
        assert_eq!(ask(&destinations, "forbidden").await.unwrap().status, 403);
    }
    assert_eq!(seen.count(), 3);
}

#[tokio::test]
async fn without_a_cache_each_question_is_a_request() {
    let (seen, service) = service().await;
    let destinations = destinations(&service);
    for _ in 0..3 {
        ask(&destinations, "ann").await.unwrap();
    }
    assert_eq!(seen.count(), 3);
}

#[tokio::test]
async fn whoever_asked_first_may_leave_and_the_others_get_their_answer() {
    let (seen, mut service) = service().await;
    service.cache = Duration::from_secs(600);
    let destinations = destinations(&service);
    let first = tokio::spawn({
        let destinations = destinations.clone();
        async move { ask(&destinations, "slow").await }
    });
    while seen.count() == 0 {
        tokio::task::yield_now().await;
    }
    let asking = ask(&destinations, "slow");
    tokio::pin!(asking);
    assert!(futures_util::poll!(&mut asking).is_pending());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    seen.go.notify_one();
    assert_eq!(body(asking.await), "late");
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn an_old_answer_is_used_where_there_is_no_new_one_and_says_so() {
    let (seen, mut service) = service().await;
    service.stale = Duration::from_secs(600);
    let destinations = destinations(&service);
    assert_eq!(body(ask(&destinations, "ann").await), "ann ");
    seen.fails.store(1, Ordering::SeqCst);
    assert_eq!(body(ask(&destinations, "ann").await), "ann ");
    assert_eq!(seen.count(), 2);
    assert_eq!(
        ask(&destinations, "bob").await,
        Err(AnswerError::Unavailable)
    );
}

#[tokio::test]
async fn the_requests_that_wait_at_once_are_bounded() {
    let (seen, mut service) = service().await;
    service.max_waiting = 2;
    let destinations = destinations(&service);
    let waiting = join_all([ask(&destinations, "slow"), ask(&destinations, "slow")]);
    let busy = async {
        while seen.count() < 2 {
            tokio::task::yield_now().await;
        }
        let third = ask(&destinations, "ann").await;
        seen.go.notify_waiters();
        // One of the two may not have been waiting yet.
        seen.go.notify_one();
        third
    };
    let (answers, third) = tokio::join!(waiting, busy);
    assert_eq!(third, Err(AnswerError::Busy));
    assert!(answers.into_iter().all(|answer| body(answer) == "late"));
    ask(&destinations, "ann").await.unwrap();
}

#[tokio::test]
async fn nobody_waits_longer_than_the_admission_lasts() {
    let (_, service) = service().await;
    let destinations = destinations(&service);
    let asking = Asking {
        asker: Asker::Deciding(Client::numbered(1)),
        until: Some(Instant::now()),
        requests: &[request("hang")],
    };
    let answers = destinations.ask(asking).await.unwrap();
    assert_eq!(answers[0].answer, Err(AnswerError::Timeout));
    assert_eq!(answers[0].refusal(), Some(AnswerError::Timeout));
}

#[tokio::test]
async fn a_service_that_fails_for_many_clients_is_left_alone_and_one_client_does_not_do_that() {
    let (seen, service) = service().await;
    let destinations = destinations(&service);
    seen.fails.store(1, Ordering::SeqCst);
    for _ in 0..20 {
        let failed = ask_as(&destinations, 1, "ann").await;
        assert_eq!(failed, Err(AnswerError::Unavailable));
    }
    assert_eq!(seen.count(), 20);
    for client in 2..10 {
        let failed = ask_as(&destinations, client, "ann").await;
        assert_eq!(failed, Err(AnswerError::Unavailable));
    }
    // Five different ones, the first included.
    assert_eq!(seen.count(), 24);
}

#[tokio::test]
async fn refusals_of_the_service_and_answers_that_are_too_large_never_open_the_breaker() {
    let (seen, service) = service().await;
    let destinations = destinations(&service);
    for client in 0..30 {
        let user = ["nobody", "forbidden", "large", "away", "bytes"][usize::from(client % 5)];
        drop(ask_as(&destinations, client, user).await);
    }
    assert_eq!(seen.count(), 30);
    ask(&destinations, "ann").await.unwrap();
}

#[tokio::test]
async fn what_is_kept_outlives_a_configuration_that_leaves_the_destination_as_it_is() {
    let (seen, mut service) = service().await;
    service.cache = Duration::from_secs(600);
    let pool = DestinationPool::default();
    let before = serving(&pool, &service);
    ask(&before, "ann").await.unwrap();
    let after = serving(&pool, &service);
    ask(&after, "ann").await.unwrap();
    assert_eq!(seen.count(), 1);
    // A configuration that is refused, and another that puts things right again.
    let good = service.clone();
    service.max_response += 1;
    drop(prepared(&pool, &service));
    ask(&serving(&pool, &good), "ann").await.unwrap();
    assert_eq!(seen.count(), 1);
    ask(&serving(&pool, &service), "ann").await.unwrap();
    assert_eq!(seen.count(), 2);
}

#[tokio::test]
async fn what_a_service_says_now_ends_what_it_said_before_whatever_it_is() {
    let (seen, mut service) = service().await;
    service.stale = Duration::from_secs(600);
    let destinations = destinations(&service);
    for now in [403, 429, 401] {
        ask(&destinations, "ann").await.unwrap();
        seen.says.store(now, Ordering::SeqCst);
        let answer = ask(&destinations, "ann").await.unwrap();
        assert_eq!(usize::from(answer.status), now);
        seen.says.store(0, Ordering::SeqCst);
        // An old answer would let in somebody who is to stay out.
        seen.fails.store(1, Ordering::SeqCst);
        let failed = ask(&destinations, "ann").await;
        assert_eq!(failed, Err(AnswerError::Unavailable), "{now}");
        seen.fails.store(0, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn one_client_that_asks_a_lot_leaves_places_to_others() {
    let (seen, mut service) = service().await;
    service.max_waiting = 32;
    let destinations = destinations(&service);
    let ask_slowly = |_| {
        let destinations = destinations.clone();
        tokio::spawn(async move { ask_as(&destinations, 1, "slow").await })
    };
    let waiting: Vec<_> = (0..40).map(ask_slowly).collect();
    // The last eighth is for those who have less than an eighth.
    while seen.count() < 29 {
        tokio::task::yield_now().await;
    }
    assert_eq!(body(ask_as(&destinations, 2, "ann").await), "ann ");
    assert_eq!(
        ask_as(&destinations, 1, "ann").await,
        Err(AnswerError::Busy)
    );
    assert_eq!(seen.count(), 30);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_answer_with_the_operators_credentials_in_it_is_not_used() {
    let (_, service) = service().await;
    let destinations = destinations(&service);
    for user in ["swordfish", "Bearer swordfish"] {
        assert_eq!(ask(&destinations, user).await, Err(AnswerError::Unusable));
    }
    ask(&destinations, "Bearer").await.unwrap();
}

#[tokio::test]
async fn a_policy_that_decides_nothing_leaves_places_and_the_breaker_alone() {
    let (seen, mut service) = service().await;
    service.max_waiting = 2;
    let destinations = destinations(&service);
    let watching = |client| Asking {
        asker: Asker::Watching(Client::numbered(client)),
        until: None,
        requests: WATCHED.as_slice(),
    };
    seen.fails.store(1, Ordering::SeqCst);
    for client in 0..10 {
        let answers = destinations.ask(watching(client)).await.unwrap();
        assert_eq!(answers[0].answer, Err(AnswerError::Unavailable));
    }
    seen.fails.store(0, Ordering::SeqCst);
    ask(&destinations, "ann").await.unwrap();
    let waiting = ask(&destinations, "slow");
    let busy = async {
        while seen.count() < 12 {
            tokio::task::yield_now().await;
        }
        let watched = destinations.ask(watching(1)).await.unwrap();
        assert_eq!(watched[0].answer, Err(AnswerError::Busy));
        ask(&destinations, "ann").await.unwrap();
        seen.go.notify_one();
    };
    let (answer, ()) = tokio::join!(waiting, busy);
    assert_eq!(body(answer), "late");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_longer_than_admissions_last_is_left_alone() {
    let (_, service) = service().await;
    let destinations = destinations(&service);
    let cut = |client, after: u64| Asking {
        asker: Asker::Deciding(Client::numbered(client)),
        until: Some(Instant::now() + Duration::from_millis(after)),
        requests: HANGING.as_slice(),
    };
    for (after, error) in [
        (10, AnswerError::Timeout),
        (1500, AnswerError::Timeout),
        (1500, AnswerError::Unavailable),
    ] {
        for client in 0..5 {
            let answers = destinations.ask(cut(client, after)).await.unwrap();
            assert_eq!(answers[0].answer, Err(error), "{after}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_service_closes_costs_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // It closes each connection when a second request comes on it.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
            let _second = stream.read(&mut request).await.unwrap();
        }
    });
    let (_, mut service) = service().await;
    service.url = Template::parse(&format!("http://{address}/users/{{user}}")).unwrap();
    service.method = Method::Get;
    let destinations = destinations(&service);
    for _ in 0..3 {
        assert_eq!(body(ask(&destinations, "ann").await), "ok");
    }
}

#[test]
fn a_service_without_tls_needs_no_authorities() {
    let service = Service {
        authorities: Authorities::File("/nowhere/ca.pem".into()),
        ..plain("http://127.0.0.1:1/users/{user}")
    };
    assert!(service::Destination::new("users", service.clone()).is_ok());
    let url = Template::parse("https://127.0.0.1:1/users/{user}").unwrap();
    assert!(service::Destination::new("users", Service { url, ..service }).is_err());
}
