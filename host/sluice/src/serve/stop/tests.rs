use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::sleep;

use super::*;
use base::limits::Limits;
use config::Config;
use gateway::routes::Routes;
use gateway::routes::testing::{connect, gateway, generation, request, routes};
use upstream::discard::Discard;
use upstream::{Downward, Link, Lost, OpenError, Sealed, StreamEnd, StreamInfo, Upstream, Upward};

/// Takes its time to make safe what it has.
struct Slow(Duration);

impl Upstream for Slow {
    fn open(&self, _: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        let link: Box<dyn Link> = Box::new(Self(self.0));
        future::ready(Ok(link)).boxed()
    }

    fn outage(&self) -> Duration {
        self.0
    }
}

impl Link for Slow {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, _: Upward) {}

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        Poll::Pending
    }

    fn seal(self: Box<Self>, _: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        let Self(takes) = *self;
        async move {
            sleep(takes).await;
            Ok(Sealed { bytes: 0 })
        }
        .boxed()
    }
}

/// The defaults, but for the time to finish.
fn server() -> Server {
    let (config, _) = Config::load(None).unwrap();
    Server {
        drain_timeout: Duration::from_secs(1),
        ..config.server
    }
}

/// Reads the head of the answer, and as slowly as a client may what comes then,
/// to the end.
async fn read_slowly(mut client: DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\n") {
        all.push(client.read_u8().await.unwrap());
    }
    let mut some = [0; 8];
    loop {
        sleep(Duration::from_secs(1)).await;
        match client.read(&mut some).await {
            Ok(0) | Err(_) => return all,
            Ok(read) => all.extend_from_slice(&some[..read]),
        }
    }
}

#[track_caller]
fn is_told(answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    assert!(text.contains(r#""code":"draining""#), "{text}");
    let close = b"\x03\xe9the gateway is shutting down";
    assert!(answer.ends_with(close), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_is_waited_for_as_long_as_its_own_route_allows() {
    // Far beyond the defaults, and nearly all of it is used.
    let limits = Limits {
        write_timeout: Duration::from_secs(200),
        settle: Duration::from_secs(1),
        close_timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    let old = routes(&Routes::default(), limits, Slow(Duration::from_secs(199)));
    let gateway = gateway(old, Limits::default());
    let (host, mut client) = duplex(64);
    connect(&gateway, host).await;
    client
        .write_all(request("/stream").as_bytes())
        .await
        .unwrap();
    let reading = tokio::spawn(read_slowly(client));
    sleep(Duration::from_secs(60)).await;
    // It is served by the generation that it came with.
    let before = gateway.generation.load_full();
    let new = routes(&before.routes, Limits::default(), Discard);
    drop(before);
    gateway.generation.store(generation(2, new));

    let listener = tokio::spawn(future::ready(()));
    wind_down(&gateway, vec![listener], &server())
        .await
        .unwrap();
    assert_eq!(gateway.tasks.len(), 0, "it still has connections");
    is_told(&reading.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_end_within_its_bounds_is_left() {
    let gateway = gateway(Routes::default(), Limits::default());
    gateway.tasks.spawn(future::pending::<()>());
    let listener = tokio::spawn(future::ready(()));
    wind_down(&gateway, vec![listener], &server())
        .await
        .unwrap();
    assert_eq!(gateway.tasks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_no_connection_has_any_more_is_not_waited_for() {
    let limits = Limits {
        write_timeout: Duration::from_hours(1),
        ..Limits::default()
    };
    let gateway = gateway(
        routes(&Routes::default(), limits, Discard),
        Limits::default(),
    );
    let header = Duration::from_secs(5);
    assert!(patience(&gateway, header) > Duration::from_hours(1));
    let before = gateway.generation.load_full();
    let slow = Slow(Duration::from_secs(7));
    let new = routes(&before.routes, Limits::default(), slow);
    drop(before);
    gateway.generation.store(generation(2, new));
    let defaults = linger::longest(&Limits::default());
    let outages = Duration::from_secs(14);
    assert_eq!(patience(&gateway, header), header + defaults + outages);
}

#[tokio::test(start_paused = true)]
async fn a_client_in_the_middle_of_its_request_is_told_that_the_gateway_closes() {
    let routes = routes(&Routes::default(), Limits::default(), Discard);
    let gateway = gateway(routes, Limits::default());
    let (host, mut client) = duplex(4096);
    connect(&gateway, host).await;
    let request = request("/stream");
    let (first, rest) = request.split_at(20);
    client.write_all(first.as_bytes()).await.unwrap();
    let shared = Arc::clone(&gateway);
    let stopping = tokio::spawn(async move {
        let listener = tokio::spawn(future::ready(()));
        wind_down(&shared, vec![listener], &server()).await
    });
    gateway.shutdown.closing().await;
    client.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    is_told(&answer);
    stopping.await.unwrap().unwrap();
    assert_eq!(gateway.tasks.len(), 0);
}
